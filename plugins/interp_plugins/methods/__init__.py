"""Methods that ship with the tool."""
