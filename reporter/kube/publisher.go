package kube

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/nodetune/nodetune/reporter/condition"
)

// Publisher writes the conditions of one Node and removes its startup taint. It
// reads the Node by a watch on that one object, writes only what changed, and
// works on without an API server: what is wanted is written when it is back.
type Publisher struct {
	client  NodeClient
	name    string
	hooks   Hooks
	changed chan struct{}

	mu                 sync.Mutex
	policy             condition.Policy
	removeStartupTaint bool // the floors hold and the gate may be opened
	view               *nodeView
	adopted            bool
	wrote              map[corev1.NodeConditionType]bool // by this process, on this Node
	back               bool                              // the API server answers again: what failed may be tried now
	states             condition.States
	configured         []corev1.NodeConditionType // nil until the first verdicts: nothing is known to be ours to remove
	stats              PublisherStats
}

// NodeClient is the calls on Nodes that this package makes.
type NodeClient interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Node, error)
	List(ctx context.Context, o metav1.ListOptions) (*corev1.NodeList, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
	Patch(ctx context.Context, name string, kind types.PatchType, body []byte, o metav1.PatchOptions, subresources ...string) (*corev1.Node, error)
}

// Hooks are called after something happened, from Node's own goroutine.
// Each may be nil.
type Hooks struct {
	// Wrote follows every attempt to write; err is nil where it worked.
	Wrote func(Write)
	// Foreign is called once for each condition that another manager owns and
	// nodetune therefore does not publish.
	Foreign func(t corev1.NodeConditionType, managers []string)
	// Reached follows when the API server stops or starts to answer the watch.
	Reached func(error)
}

// Write is one attempt to write.
type Write struct {
	Set          []corev1.NodeCondition
	Removed      []corev1.NodeConditionType
	StartupTaint bool // the taint of the startup gate was removed
	Err          error
	Retry        bool // it will be tried again without a new reason
}

// PublisherStats counts what Node did since it was made.
type PublisherStats struct {
	Succeeded uint64
	Failed    uint64
	Skipped   uint64 // rounds of verdicts that left nothing to write
	Foreign   map[corev1.NodeConditionType][]string
}

// writeTimeout bounds one request: longer than the API server's own minute
// would only hold a connection to one that is gone.
const writeTimeout = 30 * time.Second

// NewPublisher publishes to the Node called name. With a nil client it computes
// the conditions and writes nothing: do not run it.
func NewPublisher(client NodeClient, name string, policy condition.Policy, hooks Hooks) *Publisher {
	return &Publisher{
		client: client, name: name, policy: policy, hooks: hooks,
		changed: make(chan struct{}, 1), states: condition.States{}, wrote: make(map[corev1.NodeConditionType]bool),
		stats: PublisherStats{Foreign: make(map[corev1.NodeConditionType][]string)},
	}
}

// Reconfigure replaces the policy from the next round on.
func (n *Publisher) Reconfigure(policy condition.Policy) {
	n.mu.Lock()
	n.policy = policy
	n.mu.Unlock()
	n.wake()
}

// Update takes one round of verdicts and returns the conditions that changed their
// status. A condition without a verdict is not evaluated by anybody (any more)
// and is removed if it is ours.
func (n *Publisher) Update(seen []condition.Evaluation, now time.Time) []condition.Transition {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen = slices.DeleteFunc(slices.Clone(seen), func(v condition.Evaluation) bool {
		return !slices.Contains(n.policy.Types, v.Type)
	})
	n.configured = make([]corev1.NodeConditionType, 0, len(seen))
	for _, v := range seen {
		n.configured = append(n.configured, v.Type)
	}
	var changes []condition.Transition
	n.states, changes = condition.Update(n.states, seen, now, n.policy)
	if n.view != nil && n.difference(now, 0).empty() {
		n.stats.Skipped++
	}
	n.wake()
	return changes
}

// RemoveStartupTaint makes the publisher remove the startup taint. The caller has
// verified that the floors hold.
func (n *Publisher) RemoveStartupTaint() {
	n.mu.Lock()
	n.removeStartupTaint = true
	n.mu.Unlock()
	n.wake()
}

// Conditions returns what is settled, whether or not it could be written.
func (n *Publisher) Conditions() []corev1.NodeCondition {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.states.Conditions()
}

// Stats returns what was done so far.
func (n *Publisher) Stats() PublisherStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats // Foreign is replaced, never changed
}

// UID returns the UID of the Node, or "" until it was seen.
func (n *Publisher) UID() types.UID {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.view == nil {
		return ""
	}
	return n.view.uid
}

// Run watches the Node and writes what changed until ctx is done.
func (n *Publisher) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() {
		byName := fields.OneTermEqualSelector(metav1.ObjectNameField, n.name).String()
		follow(ctx, newListWatch(n.client.List, n.client.Watch, byName, n.onReached), &corev1.Node{}, nodeStore{n})
	})
	both.Go(func() { n.publish(ctx) })
	both.Wait()
}

// onReached notes that the API server stopped to answer, or answers again.
func (n *Publisher) onReached(err error) {
	if err == nil {
		n.mu.Lock()
		n.back = true
		n.mu.Unlock()
		n.wake()
	}
	if n.hooks.Reached != nil {
		n.hooks.Reached(err)
	}
}

func (n *Publisher) wake() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// onNodeUpdate takes a Node as the watch or the answer to a write showed it, unless it
// is older than what is known and not a new list.
func (n *Publisher) onNodeUpdate(node *corev1.Node, list bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !list && n.view != nil && n.view.uid == node.UID {
		order, err := resourceversion.CompareResourceVersion(node.ResourceVersion, n.view.version)
		if err == nil && order < 0 {
			return
		}
	}
	if n.view == nil || n.view.uid != node.UID {
		clear(n.wrote)
	}
	n.view = viewNode(node)
	if !n.adopted {
		for t, h := range condition.Adopt(n.view.adoptable()) {
			n.states[t] = h
		}
		n.adopted = true
	}
	n.wake()
}

// onNodeDelete forgets the Node: it was deleted. It may come back under its name.
func (n *Publisher) onNodeDelete() {
	n.mu.Lock()
	n.view = nil
	n.mu.Unlock()
}

// difference is called with the lock held and a view.
func (n *Publisher) difference(now time.Time, beat time.Duration) difference {
	if n.configured == nil {
		return difference{}
	}
	return differ(n.view, n.states.Conditions(), n.configured, now, beat)
}

// publish writes one difference after the other, each when it is due.
func (n *Publisher) publish(ctx context.Context) {
	var conditions, gate writeSchedule
	for ctx.Err() == nil {
		if policy, back := n.isBack(); back {
			conditions.retryNow(policy, time.Now(), rand.Float64())
			gate.retryNow(policy, time.Now(), rand.Float64())
		}
		next := n.publishConditions(ctx, &conditions)
		if at := n.publishStartupTaint(ctx, &gate); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
		wait := time.Hour // for wake
		if !next.IsZero() {
			wait = max(0, time.Until(next))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-n.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// isBack reports, once, whether the API server has answered again.
func (n *Publisher) isBack() (condition.Policy, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	back := n.back
	n.back = false
	return n.policy, back
}

// publishConditions writes the conditions if that is due, and returns when to
// look again; zero: when something has changed.
func (n *Publisher) publishConditions(ctx context.Context, p *writeSchedule) time.Time {
	now := time.Now()
	n.mu.Lock()
	if n.view == nil {
		n.mu.Unlock()
		return time.Time{}
	}
	policy := n.policy
	d := n.difference(now, p.heartbeat(policy, rand.Float64()))
	foreign := n.newForeign()
	version := ""
	if d.first(n.wrote) {
		version = n.view.version
	}
	n.mu.Unlock()
	if n.hooks.Foreign != nil {
		for _, t := range foreign {
			n.hooks.Foreign(t, n.Stats().Foreign[t])
		}
	}
	at, due := p.due(d, policy, now, rand.Float64())
	if !due {
		return d.heartbeat
	}
	if at.After(now) {
		return at
	}
	body, err := d.patch(now, version)
	if err == nil {
		err = n.patch(ctx, types.StrategicMergePatchType, body, "status")
	}
	if version != "" && apierrors.IsConflict(err) && p.conflicts < maxConflicts {
		p.conflicts++
		if err = n.readNode(ctx); err == nil {
			return time.Now() // what is to be written may have become another program's
		}
	}
	if err == nil {
		n.noteWritten(d)
	}
	n.finish(p, Write{Set: d.set, Removed: d.remove, Err: err}, d.key())
	return time.Now() // look at once: the answer may differ from what was sent
}

// publishStartupTaint removes the taint of the startup gate once the floors hold.
func (n *Publisher) publishStartupTaint(ctx context.Context, p *writeSchedule) time.Time {
	now := time.Now()
	n.mu.Lock()
	if n.view == nil || !n.removeStartupTaint || n.view.startupTaint < 0 {
		n.mu.Unlock()
		return time.Time{}
	}
	body, version := startupTaintPatch(n.view.startupTaint), n.view.version
	n.mu.Unlock()
	key := version + string(body) // a refusal holds for this state of the Node
	if p.refused == key {
		return time.Time{}
	}
	if p.retry.After(now) {
		return p.retry
	}
	err := n.patch(ctx, types.JSONPatchType, body)
	n.finish(p, Write{StartupTaint: true, Err: err}, key)
	return p.retry
}

func (n *Publisher) patch(ctx context.Context, kind types.PatchType, body []byte, subresources ...string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	node, err := n.client.Patch(ctx, n.name, kind, body, metav1.PatchOptions{FieldManager: FieldManager}, subresources...)
	if err == nil {
		n.onNodeUpdate(node, false)
	}
	return err
}

// maxConflicts is how often a conflict is answered by reading the Node and trying at
// once. A kubelet writes its Node every ten seconds at most, so more than one in a row
// is a program that writes all the time; then the usual wait for a retry applies.
const maxConflicts = 20

// readNode reads the Node as it is now.
func (n *Publisher) readNode(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	node, err := readNode(ctx, n.client, n.name)
	switch {
	case err != nil:
		return err
	case node == nil:
		n.onNodeDelete()
	default:
		n.onNodeUpdate(node, true)
	}
	return nil
}

// readNode returns the Node from storage, and not as the API server's cache may have it:
// a list without a resourceVersion. The agent has no right to get a Node. It returns nil
// where there is none.
func readNode(ctx context.Context, client NodeClient, name string) (*corev1.Node, error) {
	all, err := client.List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()})
	if err != nil {
		return nil, err
	}
	for i := range all.Items {
		if all.Items[i].Name == name {
			return &all.Items[i], nil
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// noteWritten notes that this process wrote the conditions of d.
func (n *Publisher) noteWritten(d difference) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range d.set {
		n.wrote[c.Type] = true
	}
	for _, t := range d.remove {
		delete(n.wrote, t)
	}
}

// finish counts the result of a write and reports it.
func (n *Publisher) finish(p *writeSchedule, w Write, key string) {
	n.mu.Lock()
	if w.Err == nil {
		p.succeeded(key, time.Now())
		n.stats.Succeeded++
	} else {
		forGood := apierrors.IsForbidden(w.Err) || apierrors.IsInvalid(w.Err)
		p.failed(key, w.Err, forGood, time.Now(), rand.Float64())
		w.Retry = !forGood
		n.stats.Failed++
	}
	n.mu.Unlock()
	if n.hooks.Wrote != nil {
		n.hooks.Wrote(w)
	}
}

// newForeign records which conditions belong to another manager and returns those
// that are new. It is called with the lock held and a view.
func (n *Publisher) newForeign() []corev1.NodeConditionType {
	was := n.stats.Foreign
	n.stats.Foreign = make(map[corev1.NodeConditionType][]string)
	var fresh []corev1.NodeConditionType
	for _, t := range n.configured {
		if managers, foreign := n.view.foreign(t); foreign {
			n.stats.Foreign[t] = managers
			if was[t] == nil {
				fresh = append(fresh, t)
			}
		}
	}
	return fresh
}

// nodeStore is where the watch puts the one Node.
type nodeStore struct{ n *Publisher }

func (s nodeStore) Add(o any) error { s.n.onNodeUpdate(o.(*corev1.Node), false); return nil }

func (s nodeStore) Update(o any) error { s.n.onNodeUpdate(o.(*corev1.Node), false); return nil }

func (s nodeStore) Delete(any) error { s.n.onNodeDelete(); return nil }

func (s nodeStore) Resync() error { return nil }

// Replace takes a new list as it is, older or not: an etcd that was restored
// counts its versions from the backup on.
func (s nodeStore) Replace(list []any, _ string) error {
	if len(list) == 0 {
		s.n.onNodeDelete()
	}
	for _, o := range list {
		s.n.onNodeUpdate(o.(*corev1.Node), true)
	}
	return nil
}
