"""Launchers that ship with the tool: this machine, SLURM, machines reached by ssh, and a list of commands for anything else."""
