"""The main job, shown: upload, train, pause, resume, kill, recover, compare; through the official `openai` client."""
