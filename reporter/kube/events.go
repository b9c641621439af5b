package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/reporter/condition"
)

// Event marks something that happened to a Node or a Pod. Reason and Message
// hold no number that changes and nothing that a process chooses: equal Events
// become one with a count.
type Event struct {
	Object  corev1.ObjectReference
	Type    string // corev1.EventTypeNormal or EventTypeWarning
	Reason  string
	Message string
	// Detail stands behind the message and is no part of the identity: a process
	// that changes its name or its files makes no new Event. The first one stays.
	Detail string
	// FromWorkload marks what a workload can cause as often as it likes. Such
	// Events have a queue of their own, as all on Pods have.
	FromWorkload bool
}

// Identity returns e without what does not distinguish it.
func (e Event) Identity() Event {
	e.Detail = ""
	return e
}

func (e Event) text() string {
	if e.Detail == "" {
		return e.Message
	}
	return truncateMessage(e.Message + " (" + e.Detail + ")")
}

// The reasons of Events that belong to no condition.
const (
	ConfigurationRefused  = "ConfigurationRefused"
	ConfigurationReloaded = "ConfigurationReloaded"
	LimitRaised           = "LimitRaised"
)

// Events writes Events. It is not client-go's recorder, which gives up after
// twelve tries: what happened while the API server was away for a day is written
// when it is back, with the time it happened. It writes core/v1 and not
// events.k8s.io/v1: they are one object in etcd, and this one needs no second
// client.
type Events struct {
	client func(namespace string) EventClient
	host   string
	uid    func() types.UID // of the Node
	refuse func(namespace string, err error)
	// The Node's own Events and those of workloads, which must not keep the
	// Node's from being written.
	node, workloads eventQueue

	mu       sync.Mutex
	refused  map[string]bool // namespaces that forbid Events
	disabled []string
	stats    EventStats
}

// eventQueue is Events that are written one after the other. Its map is guarded by
// Events.mu.
type eventQueue struct {
	limit  *rate.Limiter
	wake   chan struct{}
	recent map[Event]*series // by identity
}

func newEventQueue() eventQueue {
	return eventQueue{rate.NewLimiter(rate.Every(eventEvery), eventBurst), make(chan struct{}, 1), make(map[Event]*series)}
}

func (e *Events) queue(ev Event) *eventQueue {
	if ev.FromWorkload || ev.Object.Kind == "Pod" {
		return &e.workloads
	}
	return &e.node
}

// EventClient is the calls on the Events of one namespace.
type EventClient interface {
	Create(ctx context.Context, event *corev1.Event, o metav1.CreateOptions) (*corev1.Event, error)
	Patch(ctx context.Context, name string, kind types.PatchType, body []byte, o metav1.PatchOptions, subresources ...string) (*corev1.Event, error)
}

// EventStats counts writes.
type EventStats struct{ Succeeded, Failed, Dropped uint64 }

// series is one Event and how often it happened.
type series struct {
	name        string // of the object in the API; "" until it is created
	detail      string // of the first occurrence
	count       int32
	writes      int
	first, last time.Time
	pending     bool
	notBefore   time.Time
	failures    int
}

// The bounds of what each queue of one node writes. The API server keeps Events
// for an hour.
const (
	// eventSpread is over how long the agents of a cluster spread the first write
	// of an Event: a ConfigMap that changed reaches 5,000 nodes at once.
	eventSpread  = 30 * time.Second
	eventBurst   = 10               // at once, then
	eventEvery   = 30 * time.Second // one
	eventAgain   = 10 * time.Second // between two writes of the same one, then
	eventRepeat  = 5 * time.Minute  // twice as long each time, up to this
	eventKeep    = time.Hour        // after which the same one is a new one
	eventsRecent = 128              // different ones that are remembered
)

// NewEvents writes Events in the name of the agent on host, whose Node has the
// UID that uid returns; "" while it is not known, which holds up its Events.
// refuse is called when the API server begins to forbid Events in a namespace.
func NewEvents(client func(namespace string) EventClient, host string, uid func() types.UID, disabled []string, refuse func(namespace string, err error)) *Events {
	return &Events{
		client: client, host: host, uid: uid, disabled: disabled, refuse: refuse,
		node: newEventQueue(), workloads: newEventQueue(), refused: make(map[string]bool),
	}
}

// Disable replaces the reasons that are not written.
func (e *Events) Disable(reasons []string) {
	e.mu.Lock()
	e.disabled = reasons
	e.mu.Unlock()
}

// Stats returns what was written so far.
func (e *Events) Stats() EventStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// OnNode returns an Event on the agent's own Node.
func (e *Events) OnNode(kind, reason, message string) Event {
	return Event{Object: corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: e.host}, Type: kind, Reason: reason, Message: message}
}

// OfPod returns an Event on a pod as one on the Node that names the pod.
func (e *Events) OfPod(ev Event) Event {
	n := e.OnNode(ev.Type, ev.Reason, truncateMessage(fmt.Sprintf("pod %s/%s: %s", ev.Object.Namespace, ev.Object.Name, ev.Message)))
	n.Detail, n.FromWorkload = ev.Detail, true
	return n
}

// Record adds an occurrence of ev at now. It never blocks.
func (e *Events) Record(ev Event, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.Contains(e.disabled, ev.Reason) {
		return
	}
	q, id := e.queue(ev), ev.Identity()
	s := q.recent[id]
	if s == nil || now.Sub(s.last) > eventKeep && !s.pending {
		if s == nil && len(q.recent) >= eventsRecent && !q.forget() {
			e.stats.Dropped++
			return
		}
		s = &series{first: now, detail: ev.Detail, notBefore: now.Add(rand.N(eventSpread))}
		q.recent[id] = s
	}
	s.count, s.last, s.pending = s.count+1, now, true
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// forget makes room: the one that happened longest ago and is written goes.
func (q *eventQueue) forget() bool {
	var oldest Event
	var found *series
	for ev, s := range q.recent {
		if !s.pending && (found == nil || s.last.Before(found.last)) {
			oldest, found = ev, s
		}
	}
	delete(q.recent, oldest)
	return found != nil
}

// Run writes until ctx is done.
func (e *Events) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { e.run(ctx, &e.node) })
	both.Go(func() { e.run(ctx, &e.workloads) })
	both.Wait()
}

func (e *Events) run(ctx context.Context, q *eventQueue) {
	for ctx.Err() == nil {
		ev, at, ok := e.next(q)
		wait := time.Hour // for wake
		if ok {
			wait = time.Until(at)
		}
		if ok && wait <= 0 {
			if q.limit.Wait(ctx) == nil {
				e.write(ctx, q, ev)
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// next returns the pending Event that is due first, and when.
func (e *Events) next(q *eventQueue) (next Event, at time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ev, s := range q.recent {
		if s.pending && (!ok || s.notBefore.Before(at)) {
			next, at, ok = ev, s.notBefore, true
		}
	}
	return next, at, ok
}

func (e *Events) write(ctx context.Context, q *eventQueue, ev Event) {
	e.mu.Lock()
	s := q.recent[ev]
	was := *s
	e.mu.Unlock()
	name, err := was.name, error(nil)
	if ev.Object.Kind == "Node" && ev.Object.UID == "" {
		// kubectl describe node asks for the UID and for the name.
		if ev.Object.UID = e.uid(); ev.Object.UID == "" {
			err = errNodeUnseen
		}
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		name, err = e.send(ctx, ev, was)
		cancel()
	}
	now := time.Now()
	e.noteForbidden(namespaceOf(ev), err)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		e.stats.Succeeded++
		s.name, s.failures, s.notBefore = name, 0, now.Add(min(eventAgain<<s.writes, eventRepeat))
		s.writes = min(s.writes+1, 5)
		s.pending = s.count != was.count // it happened again meanwhile
	case permanent(err):
		e.stats.Failed++
		s.pending, s.notBefore = false, now.Add(eventRepeat)
	default:
		e.stats.Failed++
		s.notBefore = now.Add(max(backoff(s.failures, rand.Float64()), retryAfter(err, rand.Float64())))
		s.failures++
	}
}

// noteForbidden calls refuse when a namespace begins to forbid Events; one that
// is being deleted forbids everything.
func (e *Events) noteForbidden(namespace string, err error) {
	forbidden := apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
	e.mu.Lock()
	known := e.refused[namespace]
	if forbidden {
		e.refused[namespace] = true
	} else if err == nil {
		delete(e.refused, namespace)
	}
	e.mu.Unlock()
	if forbidden && !known {
		e.refuse(namespace, err)
	}
}

// namespaceOf returns where ev is kept.
func namespaceOf(ev Event) string {
	if ev.Object.Namespace == "" {
		return metav1.NamespaceDefault // where Events of cluster-scoped objects are
	}
	return ev.Object.Namespace
}

var errNodeUnseen = fmt.Errorf("the UID of the Node is not known yet")

// permanent reports whether writing the same again cannot help.
func permanent(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsNotFound(err)
}

// send creates the Event, or counts on where it exists.
func (e *Events) send(ctx context.Context, ev Event, s series) (string, error) {
	namespace := namespaceOf(ev)
	client := e.client(namespace)
	if s.name != "" {
		body, err := json.Marshal(map[string]any{"count": s.count, "lastTimestamp": metav1.NewTime(s.last)})
		if err != nil {
			return "", err
		}
		_, err = client.Patch(ctx, s.name, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: FieldManager})
		if !apierrors.IsNotFound(err) {
			return s.name, err
		}
	}
	name := eventName(ev, s.first)
	ev.Detail = s.detail
	text := ev.text()
	_, err := client.Create(ctx, &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Name: name, Namespace: namespace},
		InvolvedObject:      ev.Object,
		Type:                ev.Type,
		Reason:              ev.Reason,
		Message:             text,
		Source:              corev1.EventSource{Component: FieldManager, Host: e.host},
		ReportingController: FieldManager,
		ReportingInstance:   e.host,
		FirstTimestamp:      metav1.NewTime(s.first),
		LastTimestamp:       metav1.NewTime(s.last),
		Count:               s.count,
	}, metav1.CreateOptions{FieldManager: FieldManager})
	if apierrors.IsAlreadyExists(err) {
		err = nil
	}
	return name, err
}

// truncateMessage bounds a message; the API server takes 1024 bytes.
func truncateMessage(s string) string {
	if len(s) > 1024 {
		return strings.ToValidUTF8(s[:1021], "") + "..."
	}
	return s
}

// eventName is unique, and the same for every try: one whose answer was lost is
// not written twice.
func eventName(ev Event, first time.Time) string {
	const most = 253 - len(".0123456789abcdef")
	object := ev.Object.Name
	if len(object) > most {
		object = strings.TrimRight(object[:most], "-.")
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s", ev.Object.UID, ev.Reason, ev.Message)
	return fmt.Sprintf("%s.%016x", object, h.Sum64()^uint64(first.UnixNano()))
}

// TransitionEvents returns the Events of conditions that changed. That a condition
// is there and fine is no event.
func (e *Events) TransitionEvents(changes []condition.Transition) []Event {
	var all []Event
	for _, c := range changes {
		kind := corev1.EventTypeWarning
		if c.To.Status == corev1.ConditionFalse {
			if c.From == "" {
				continue
			}
			kind = corev1.EventTypeNormal
		}
		all = append(all, e.OnNode(kind, c.To.Reason, string(c.To.Type)+": "+condition.EventMessage(c.To)))
	}
	return all
}
