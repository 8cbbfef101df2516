"""The one loop, its optimisers and schedules, and several processes."""
