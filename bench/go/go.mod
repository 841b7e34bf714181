module gvthread/bench/go

go 1.19
