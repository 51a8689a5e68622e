module pinnace.dev/nullserver

go 1.24.0
