package worker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"gantry/internal/platform/clock"
	"gantry/internal/worker/sandbox"
)

const (
	// diskEvery is how often a session at work is measured, unless that is costly.
	diskEvery = 10 * time.Second
	// diskShare bounds what measuring may cost: one part in so many of the time.
	diskShare = 20
	// diskCheap is what measuring may cost at each border of a turn: nobody notices it.
	diskCheap = 200 * time.Millisecond
)

// disk keeps measurings of one workspace apart.
type disk struct {
	mu   sync.Mutex
	next time.Time // before it a turn's border is no reason to measure again
}

// watchDisk ends the session when it has written more than it may. A large workspace is measured less often.
func (r *run) watchDisk() {
	pause := diskEvery
	for clock.Sleep(r.ctx, pause) {
		r.disk.mu.Lock()
		took, err := r.measureDisk()
		r.disk.mu.Unlock()
		if err != nil {
			r.cancel(err)
			return
		}
		pause = max(diskEvery, diskShare*took)
	}
}

// checkDisk measures the workspace before a turn and after it, so that short turns don't get around the limit. It is left out when
// that is costly and would take more than its share of the time; the next border, or watchDisk, makes up for it.
func (r *run) checkDisk() error {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	if r.w.o.Clock.Now().Before(r.disk.next) {
		return nil
	}
	_, err := r.measureDisk()
	return err
}

// measureDisk gives the failure of a session that has written more than it may, and how long it took to find out. The caller holds
// the lock.
func (r *run) measureDisk() (took time.Duration, err error) {
	limit := r.w.box.Limits(r.spec.Limits).DiskBytes
	began := r.w.o.Clock.Now()
	used, err := r.ws.DiskUsage()
	took = r.w.o.Clock.Since(began)
	if took > diskCheap {
		r.disk.next = began.Add((diskShare + 1) * took)
	}
	switch {
	case errors.Is(err, sandbox.ErrTooDeep):
		return took, &failure{text: "The session's disk use can't be measured: " + sandbox.ErrTooDeep.Error() + "."}
	case err != nil:
		r.log.Warn("can't measure the workspace", "error", err)
	case used > limit:
		return took, &failure{text: fmt.Sprintf("The session has written %d MiB; its limit is %d MiB.", used>>20, limit>>20)}
	}
	return took, nil
}
