"""Messages from agents to processors, through Redis or RabbitMQ."""
