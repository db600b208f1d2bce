"""How many checkpoints of a job are kept, on the trainer's disk and in storage alike, beside the best one."""

RESUME_POINTS_KEPT = 2
"""The newest is what a run goes on from; the one before it, when the newest turns out to be damaged."""

EPOCHS_KEPT = 3
