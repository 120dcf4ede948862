"""What a service answers from: index generations on disk, and the state in memory that follows the store."""
