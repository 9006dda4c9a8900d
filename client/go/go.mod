module talweg/client/go

go 1.19
