"""Fuzzing of everything that reads bytes from outside: harnesses with assertions, their corpora, and what runs them."""
