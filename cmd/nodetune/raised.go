package main

import (
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/internal/lastwords"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// lastWordsAge is how old the last words of a container may be. A collector that
// went blind says so once; one that crashes says so every five minutes at least
// (the kubelet's longest back-off).
const lastWordsAge = 24 * time.Hour

// raised are the limits that were raised since somebody looked who had met them.
type raised struct {
	mu   sync.Mutex
	keys []sysctl.Key
}

func (r *raised) add(k sysctl.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.keys, k) {
		r.keys = append(r.keys, k)
	}
}

func (r *raised) take() []sysctl.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := r.keys
	r.keys = nil
	return keys
}

// tellRaised tells of the floors that a pass has put in force, and asks the
// disks' task, which may wait for a disk, who had met the limits.
func (a *agent) tellRaised(configured []sysctl.Rule, seen sysctl.PassResult) {
	look := false
	for _, s := range seen.Rules {
		if !s.Changed || s.Op != sysctl.AtLeast || s.Value <= s.Before {
			continue
		}
		a.event(corev1.EventTypeNormal, reporter.LimitRaised, reporter.RaisedMessage(s, configured))
		a.raised.add(s.Key)
		look = true
	}
	if look {
		a.disks.soon()
	}
}

// tellVictims tells the containers whose log ends with the error of a limit that
// was raised.
func (a *agent) tellVictims(rootfs string, now time.Time) {
	keys := a.raised.take()
	if len(keys) == 0 {
		return
	}
	words, err := lastwords.Find(rootfs, now.Add(-lastWordsAge))
	if err != nil {
		a.log.Warn("cannot search container logs for limit errors", "err", err)
		return
	}
	for _, w := range words {
		e, ok := reporter.VictimEvent(w, keys)
		if !ok {
			continue
		}
		a.log.Info("container log ends with the error of a limit that was raised", "namespace", w.Namespace, "pod", w.Pod, "container", w.Container, "errno", int(w.Errno))
		a.kube.sayOfPod(e, a.config.Load().Reporter.PodDemands, now)
	}
}
