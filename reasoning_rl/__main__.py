"""`python -m reasoning_rl`, the same as `reasoning-rl`."""

from reasoning_rl.cli import main

if __name__ == "__main__":
    main()
