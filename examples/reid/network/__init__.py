"""The networks of the example: two streams, a shared trunk, the heads of modinv."""
