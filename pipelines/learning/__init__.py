"""How learners run: texts from files, work on an engine, an artifact in the store. What is learned is `learners`' part."""
