"""What a person's own kubectl shows of an Experiment, beside what the metadata API holds of it.

calls (effect) → objects (parsed once) → standing (pure: what stands where, and what is stuck) and proofs.
"""
