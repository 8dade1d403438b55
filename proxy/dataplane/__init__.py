"""One data-plane process: its application and its life."""
