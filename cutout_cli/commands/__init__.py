"""The command line: a module for each command, with its options and what it prints.

What a command does is in the modules above, imported when it is called: `--help` must not wait for
that.
"""
