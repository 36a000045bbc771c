"""Message queues of the Linq provider."""
