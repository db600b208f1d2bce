"""The operator's commands, one module per thing that they are about."""
