"""What the operator wrote: the model of the YAML file, how it is read, what is checked across its rows."""
