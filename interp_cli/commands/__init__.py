"""Built-in commands that are no methods: one module each, with a typer application named ``app``."""
