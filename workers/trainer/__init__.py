"""The trainer: a program that turns a job directory into a tuned model; nothing in the service imports it."""
