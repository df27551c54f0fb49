"""Contracts between the shell, the methods and the plugins: protocols and plain data, no implementation."""
