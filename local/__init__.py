"""What runs on a developer's machine in place of Azure; never deployed."""
