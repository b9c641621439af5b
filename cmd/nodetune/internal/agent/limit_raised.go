package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/internal/logerrors"
	"github.com/nodetune/nodetune/reporter/kube"
	"github.com/nodetune/nodetune/sysctl"
)

// maxErrorAge is how old the last log lines of a container may be. A collector that
// no longer sees new files logs that once; one that crashes logs it at least every
// five minutes (the kubelet's longest back-off).
const maxErrorAge = 24 * time.Hour

// raisedKeys are the limits raised since the last search for pods that had met them.
type raisedKeys struct {
	mu   sync.Mutex
	keys []sysctl.Key
	at   time.Time // when the first of them was raised
}

func (r *raisedKeys) add(k sysctl.Key, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) == 0 {
		r.at = at
	}
	if !slices.Contains(r.keys, k) {
		r.keys = append(r.keys, k)
	}
}

func (r *raisedKeys) takeAll() ([]sysctl.Key, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := r.keys
	r.keys = nil
	return keys, r.at
}

// notifyLimitRaised writes Events for the floors that a pass has put in force. It asks
// the disk task, which may wait for a disk, to find the pods that had met the limits.
// began is when the pass began.
func (a *Agent) notifyLimitRaised(configured []sysctl.Rule, seen sysctl.PassResult, began time.Time) {
	look := false
	for _, s := range seen.Rules {
		if !s.Changed || s.Op != sysctl.AtLeast || s.Value <= s.Before {
			continue
		}
		a.recordNodeEvent(corev1.EventTypeNormal, kube.LimitRaised, kube.LimitRaisedMessage(s, configured))
		a.raisedKeys.add(s.Key, began)
		look = true
	}
	if look {
		a.diskTask.requestPass()
	}
}

// notifyAffectedPods writes an Event for each container whose log ends with the error
// of a limit that was raised.
func (a *Agent) notifyAffectedPods(ctx context.Context, rootfs string, now time.Time) {
	keys, raised := a.raisedKeys.takeAll()
	if len(keys) == 0 {
		return
	}
	configured, _ := logerrors.Forms(a.config.Load().LogErrors) // validated when it was read
	words, err := logerrors.Find(ctx, rootfs, now.Add(-maxErrorAge), raised, configured...)
	if err != nil {
		a.log.Warn("cannot search container logs for limit errors", "err", err)
	}
	for _, w := range words {
		e, ok := kube.AffectedPodEvent(w, keys)
		if !ok {
			continue
		}
		a.log.Info("a container's log ends with the error of a limit that was raised", "namespace", w.Namespace, "pod", w.Pod, "container", w.Container, "errno", int(w.Errno))
		a.kube.recordPodEvent(e, a.config.Load().Reporter.PodDemands, now)
	}
}
