"""Training backends: ways to run a job directory."""
