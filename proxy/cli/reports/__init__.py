"""The commands below `taximeter report`, a file each."""
