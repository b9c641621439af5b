package agent

import (
	"context"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/ledger"
	"github.com/nodetune/nodetune/reporter/health"
)

// A sample of the ledger is of the positions of collectors. Between two samples a
// collector that is about to lose lines may leave a file; the others lose nothing.
const (
	ledgerBusyInterval = 250 * time.Millisecond
	ledgerIdleInterval = 2 * time.Second
	// maxLedgerCPUShare bounds what that costs.
	maxLedgerCPUShare = 0.005
)

// ledgerTask counts what collectors read, and what was gone before they had read it.
type ledgerTask struct {
	*diskActions
	ledger *ledger.Ledger
	seen   time.Time // the observation that it has learned from
	cost   time.Duration
}

func (t *ledgerTask) interval() time.Duration {
	wanted := ledgerIdleInterval
	if t.ledger != nil && t.ledger.Behind() {
		wanted = ledgerBusyInterval
	}
	return min(max(wanted, time.Duration(float64(t.cost)/maxLedgerCPUShare)), time.Minute)
}

func (t *ledgerTask) pass(context.Context) error {
	now := time.Now()
	r := t.agent.latest.Snapshot().Disk
	if r.Err != nil || r.At.IsZero() {
		return health.ErrIdle
	}
	if t.ledger == nil {
		l, err := ledger.New(t.roots.Procfs, t.roots.Rootfs, now)
		if err != nil {
			return err
		}
		t.ledger = l
	}
	if r.At != t.seen {
		t.seen = r.At
		t.ledger.Learn(r.Value.Readers, evicting(r.Value))
	}
	// By the time that passes, a busy node would be sampled least, where most is lost.
	t.cost = threadTime(func() { t.ledger.Sample(now) })
	t.counts.CountLedger(t.ledger.Take(), now)
	return nil
}

// evicting reports whether a filesystem has so little space that the kubelet evicts.
func evicting(u disk.Usage) bool {
	for _, f := range u.Filesystems {
		if f.EvictionAvailBytes != nil && f.AvailBytes < *f.EvictionAvailBytes || f.EvictionInodesFree != nil && f.InodesFree < *f.EvictionInodesFree {
			return true
		}
	}
	return false
}
