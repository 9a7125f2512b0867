"""What a network answers on labelled images, and how it agrees with another."""
