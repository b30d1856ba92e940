"""The bodies of `audit ...`: one short function per command, nothing but arguments, calls and printing."""
