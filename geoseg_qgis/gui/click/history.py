"""The prompts of one object with undo and redo; plain Python, so that it is tested without Qt."""

from __future__ import annotations

from typing import List, Tuple

from ...protocol.outline import MOST_PROMPTS, Prompt


class PromptHistory:
    """Prompts in the order in which they were given."""

    def __init__(self) -> None:
        self._prompts: List[Prompt] = []
        self._undone: List[Prompt] = []

    @property
    def prompts(self) -> Tuple[Prompt, ...]:
        """The prompts that count."""
        return tuple(self._prompts)

    @property
    def can_undo(self) -> bool:
        """Whether there is a prompt to take back."""
        return bool(self._prompts)

    @property
    def can_redo(self) -> bool:
        """Whether a prompt was taken back since the last new one."""
        return bool(self._undone)

    @property
    def has_object(self) -> bool:
        """Whether a prompt lies on the object; without one there is nothing to outline."""
        return any(prompt.on_object for prompt in self._prompts)

    def add(self, prompt: Prompt) -> bool:
        """Add a prompt; return whether there was room for it."""
        if len(self._prompts) >= MOST_PROMPTS:
            return False
        self._prompts.append(prompt)
        self._undone.clear()
        return True

    def undo(self) -> bool:
        """Take the last prompt back; return whether there was one."""
        if not self._prompts:
            return False
        self._undone.append(self._prompts.pop())
        return True

    def redo(self) -> bool:
        """Give the prompt that was taken back last again; return whether there was one."""
        if not self._undone:
            return False
        self._prompts.append(self._undone.pop())
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._prompts.clear()
        self._undone.clear()
