package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// maxParallel bounds the requests under way: each passes through the API server.
const maxParallel = 16

// Each calls ask for each agent, with timeout for each one, and progress after each.
func Each(ctx context.Context, agents []Agent, timeout time.Duration, progress func(done, all int), ask func(ctx context.Context, i int)) {
	slots := make(chan struct{}, maxParallel)
	var all sync.WaitGroup
	var done atomic.Int64
	for i := range agents {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			one, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			ask(one, i)
			progress(int(done.Add(1)), len(agents))
		})
	}
	all.Wait()
}
