"""AWS on one machine: MiniStack in a process of its own, with the account's rules on."""
