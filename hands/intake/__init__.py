"""The drop folder: how an agent's file becomes an event, and where it goes once it was judged.

`inbox` watches, claims and delivers (`drops` keeps the folders, `inotify` the kernel's word); `reading` is everything
that looks at a document on disk, `files` everything that moves it; `receipts` writes the answers. Nothing here reads
what a document says: its bytes are the event, and judging them is the core's.
"""
