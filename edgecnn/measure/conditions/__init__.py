"""The conditions of a measurement: the machine, its sensors, and what makes two results unlike."""
