//! Random generators of Python and NumPy, bit for bit.
