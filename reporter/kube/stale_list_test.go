package kube

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/nodetune/nodetune/reporter/condition"
)

// staleServer is an API server whose cache is behind: it answers lists with
// resourceVersion 0 from an old Node, and its watch shows nothing newer.
type staleServer struct {
	cached, now *corev1.Node
	before      func(*staleServer) // each patch: another program is quicker
	patches     []string           // types that were written
	conflicts   int
	lists       []string // resourceVersions that were asked for
	broken      error    // of lists from storage
}

func (s *staleServer) Get(context.Context, string, metav1.GetOptions) (*corev1.Node, error) {
	return nil, errors.New("the agent has no right to get")
}

func (s *staleServer) List(_ context.Context, o metav1.ListOptions) (*corev1.NodeList, error) {
	s.lists = append(s.lists, o.ResourceVersion)
	node := s.now
	if o.ResourceVersion == "0" {
		node = s.cached
	} else if s.broken != nil {
		return nil, s.broken
	}
	return &corev1.NodeList{ListMeta: metav1.ListMeta{ResourceVersion: node.ResourceVersion}, Items: []corev1.Node{*node.DeepCopy()}}, nil
}

func (s *staleServer) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return watch.NewFake(), nil
}

func (s *staleServer) Patch(_ context.Context, name string, _ types.PatchType, body []byte, _ metav1.PatchOptions, _ ...string) (*corev1.Node, error) {
	if s.before != nil {
		s.before(s)
	}
	var p struct {
		Metadata struct{ ResourceVersion string }
		Status   struct {
			Conditions []struct {
				corev1.NodeCondition
				Patch string `json:"$patch"`
			}
		}
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, err
	}
	if v := p.Metadata.ResourceVersion; v != "" && v != s.now.ResourceVersion {
		s.conflicts++
		return nil, apierrors.NewConflict(schema.GroupResource{Resource: "nodes"}, name, errors.New("the object has been modified"))
	}
	for _, c := range p.Status.Conditions {
		if c.Patch == "delete" {
			s.patches = append(s.patches, "-"+string(c.Type))
			s.drop(c.Type)
			continue
		}
		s.patches = append(s.patches, string(c.Type))
		s.set(FieldManager, c.NodeCondition)
	}
	return s.now.DeepCopy(), nil
}

// set makes manager the owner of a condition.
func (s *staleServer) set(manager string, c corev1.NodeCondition) {
	s.drop(c.Type)
	s.now.Status.Conditions = append(s.now.Status.Conditions, c)
	fields := `{"f:status":{"f:conditions":{"k:{\"type\":\"` + string(c.Type) + `\"}":{".":{},"f:type":{},"f:status":{},"f:reason":{}}}}}`
	s.now.ManagedFields = append(s.now.ManagedFields, metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Subresource: "status",
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	})
}

func (s *staleServer) drop(t corev1.NodeConditionType) {
	s.change()
	var left []corev1.NodeCondition
	for _, c := range s.now.Status.Conditions {
		if c.Type != t {
			left = append(left, c)
		}
	}
	s.now.Status.Conditions = left
	var owners []metav1.ManagedFieldsEntry
	for _, m := range s.now.ManagedFields {
		var f struct {
			Status struct {
				Conditions map[string]any `json:"f:conditions"`
			} `json:"f:status"`
		}
		if err := json.Unmarshal(m.FieldsV1.GetRawBytes(), &f); err != nil {
			panic(err)
		}
		if _, is := f.Status.Conditions[`k:{"type":"`+string(t)+`"}`]; !is {
			owners = append(owners, m)
		}
	}
	s.now.ManagedFields = owners
}

func (s *staleServer) change() {
	v, _ := strconv.Atoi(s.now.ResourceVersion)
	s.now.ResourceVersion = strconv.Itoa(v + 1)
}

// What the first list does not show yet is not overwritten: another program's condition
// of one of our types that is newer than the API server's cache.
func TestAnOldListOverwritesNobody(t *testing.T) {
	theirs := corev1.NodeCondition{Type: condition.FileDescriptorPressure, Status: "Unknown", Reason: "Theirs"}
	own := corev1.NodeCondition{Type: condition.FileDescriptorPressure, Status: "False", Reason: "Before"}
	removed := corev1.NodeCondition{Type: condition.InotifyPressure, Status: "True", Reason: "Before"}
	for name, tt := range map[string]struct {
		cached func(*staleServer) // what the cache knows
		since  func(*staleServer) // and what it does not know yet
		before func(*staleServer)
		stays  *corev1.NodeCondition // another program's, at the end
		drift  bool                  // our other condition is written
		foreign,
		failed int
	}{
		"nothing happened":       {drift: true},
		"the kubelet has spoken": {since: func(s *staleServer) { s.change() }, drift: true},
		"another program's condition is new": {
			since: func(s *staleServer) { s.set("npd-plus", theirs) }, stays: &theirs, drift: true, foreign: 1,
		},
		"it took ours over while no agent ran": {
			cached: func(s *staleServer) { s.set(FieldManager, own) },
			since:  func(s *staleServer) { s.set("npd-plus", theirs) }, stays: &theirs, drift: true, foreign: 1,
		},
		"it took over what is not configured any more": {
			cached: func(s *staleServer) { s.set(FieldManager, removed) },
			since: func(s *staleServer) {
				s.set("npd-plus", corev1.NodeCondition{Type: condition.InotifyPressure, Status: "Unknown", Reason: "Theirs"})
			},
			stays: &corev1.NodeCondition{Type: condition.InotifyPressure, Status: "Unknown", Reason: "Theirs"}, drift: true,
		},
		"it writes between the read and the write": {
			before: func(s *staleServer) { s.before = nil; s.set("npd-plus", theirs) }, stays: &theirs, drift: true, foreign: 1,
		},
		"another program writes all the time": {before: func(s *staleServer) { s.change() }, failed: 1},
		"storage does not answer": {
			since: func(s *staleServer) { s.broken = errors.New("etcd is away"); s.set("npd-plus", theirs) }, stays: &theirs, failed: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &staleServer{now: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "uid-1", ResourceVersion: "100"}}}
				s.set("kubelet", corev1.NodeCondition{Type: corev1.NodeReady, Status: "True"})
				if tt.cached != nil {
					tt.cached(s)
				}
				s.cached = s.now.DeepCopy()
				if tt.since != nil {
					tt.since(s)
				}
				s.before = tt.before
				foreign := 0
				n := NewPublisher(s, "n1", condition.DefaultPolicy(), Hooks{Foreign: func(corev1.NodeConditionType, []string) { foreign++ }})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { n.Run(ctx); close(ended) }()
				synctest.Wait()
				say(n, condition.Clear, "R", "m", 20*time.Second, condition.FileDescriptorPressure, condition.SysctlDrift)
				cancel()
				<-ended

				is := map[corev1.NodeConditionType]corev1.NodeCondition{}
				for _, c := range s.now.Status.Conditions {
					is[c.Type] = c
				}
				if _, drift := is[condition.SysctlDrift]; drift != tt.drift {
					t.Errorf("SysctlDrift was written: %v, want %v", drift, tt.drift)
				}
				if tt.stays != nil && is[tt.stays.Type] != *tt.stays {
					t.Errorf("the other program's condition is now %+v; written: %q", is[tt.stays.Type], s.patches)
				}
				if tt.foreign != foreign {
					t.Errorf("%d conditions are reported as another program's, want %d", foreign, tt.foreign)
				}
				if got := n.Stats().Failed; (got > 0) != (tt.failed > 0) {
					t.Errorf("%d writes failed", got)
				}
				if s.conflicts > 10*maxConflicts {
					t.Errorf("%d conflicts in 20 seconds", s.conflicts)
				}
			})
		})
	}
}

// Nor does a cleanup remove what another program has taken over since the list.
func TestCleanupIsNoOldList(t *testing.T) {
	ours := corev1.NodeCondition{Type: condition.FileDescriptorPressure, Status: "True", Reason: "Ours"}
	theirs := corev1.NodeCondition{Type: condition.FileDescriptorPressure, Status: "Unknown", Reason: "Theirs"}
	for name, tt := range map[string]struct {
		before func(*staleServer)
		want   []string // of the patches
		fails  bool
	}{
		"nothing happened":             {want: []string{"-FileDescriptorPressure"}},
		"the kubelet has spoken":       {before: func(s *staleServer) { s.before = nil; s.change() }, want: []string{"-FileDescriptorPressure"}},
		"another program took it over": {before: func(s *staleServer) { s.before = nil; s.set("npd-plus", theirs) }},
		"it writes all the time":       {before: func(s *staleServer) { s.change() }, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &staleServer{now: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "uid-1", ResourceVersion: "100"}}, before: tt.before}
			s.set(FieldManager, ours)
			_, err := CleanupAll(t.Context(), s, false)
			if (err != nil) != tt.fails {
				t.Errorf("%v", err)
			}
			if !slices.Equal(s.patches, tt.want) {
				t.Errorf("written: %q, want %q", s.patches, tt.want)
			}
		})
	}
}
