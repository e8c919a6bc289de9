"""The reference reproduction: a full re-identification system around modinv."""
