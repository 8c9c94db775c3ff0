@rem PostgreSQL's own word on how it is: the last line of the file says starting, ready or stopping.
@findstr ready %PGDATA%\postmaster.pid
