package sysctl

import (
	"errors"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPlan(t *testing.T) {
	missing := Reading{Key: MaxUserInstances, Value: Unknown, Err: unix.ENOENT}
	broken := Reading{Key: MaxUserInstances, Value: Unknown, Err: errors.New("read it: broken")}
	at := func(v Value) Reading { return Reading{Key: MaxUserInstances, Value: v} }
	for name, test := range map[string]struct {
		op      Op
		want    Value
		got     Reading
		outcome Outcome
		change  *Change
	}{
		"floor below":             {AtLeast, 8192, at(128), Drifted, &Change{MaxUserInstances, 128, 8192}},
		"floor met":               {AtLeast, 8192, at(8192), InForce, nil},
		"floor never lowers":      {AtLeast, 8192, at(65536), InForce, nil},
		"floor from zero":         {AtLeast, 8192, at(0), Drifted, &Change{MaxUserInstances, 0, 8192}},
		"largest number":          {AtLeast, 8192, at(1<<63 - 1), InForce, nil},
		"exactly raises":          {Exactly, 512, at(128), Drifted, &Change{MaxUserInstances, 128, 512}},
		"exactly lowers":          {Exactly, 512, at(8192), Drifted, &Change{MaxUserInstances, 8192, 512}},
		"exactly met":             {Exactly, 512, at(512), InForce, nil},
		"reported only":           {Report, Unknown, at(128), InForce, nil},
		"absent":                  {AtLeast, 8192, missing, Absent, nil},
		"unreadable":              {AtLeast, 8192, broken, Failed, nil},
		"not in this pass at all": {AtLeast, 8192, Reading{Key: FileMax}, Failed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			status, changes := Plan([]Rule{{Key: MaxUserInstances, Op: test.op, Want: test.want}}, []Reading{test.got})
			if len(status) != 1 || status[0].Outcome != test.outcome {
				t.Fatalf("status %+v, want %s", status, test.outcome)
			}
			if test.outcome != InForce && status[0].Reason == "" {
				t.Error("no reason is given")
			}
			var want []Change
			if test.change != nil {
				want = []Change{*test.change}
			}
			if !reflect.DeepEqual(changes, want) {
				t.Errorf("changes %v, want %v", changes, want)
			}
		})
	}
}

func TestPlanOrdersWhatBoundsAnother(t *testing.T) {
	rules := []Rule{
		{Key: NrOpen, Op: Exactly, Want: 2000},
		{Key: MaxUserInstances, Op: AtLeast, Want: 8192},
		{Key: FileMax, Op: Exactly, Want: 3000},
	}
	order := func(now Value) (keys []Key) {
		_, changes := Plan(rules, []Reading{{Key: NrOpen, Value: now}, {Key: FileMax, Value: now}, {Key: MaxUserInstances, Value: 1}})
		for _, c := range changes {
			keys = append(keys, c.Key)
		}
		return keys
	}
	if got, want := order(1000), []Key{FileMax, MaxUserInstances, NrOpen}; !reflect.DeepEqual(got, want) {
		t.Errorf("raising: %v, want %v", got, want)
	}
	if got, want := order(9000), []Key{NrOpen, MaxUserInstances, FileMax}; !reflect.DeepEqual(got, want) {
		t.Errorf("lowering: %v, want %v", got, want)
	}
}

func TestOneBadKeyStopsNoOther(t *testing.T) {
	rules := []Rule{{Key: FileMax, Op: AtLeast, Want: 10}, {Key: MaxUserInstances, Op: AtLeast, Want: 10}}
	status, changes := Plan(rules, []Reading{{Key: FileMax, Value: Unknown, Err: errors.New("bad")}, {Key: MaxUserInstances, Value: 1}})
	if status[0].Outcome != Failed || status[1].Outcome != Drifted || len(changes) != 1 {
		t.Errorf("status %+v, changes %v", status, changes)
	}
}

func TestUnreadableReportIsNotUnmet(t *testing.T) {
	status, _ := Plan([]Rule{{Key: NrOpen, Op: Report, Want: Unknown}}, []Reading{{Key: NrOpen, Value: Unknown, Err: errors.New("denied")}})
	if s := status[0]; s.Outcome != Failed || s.Reason == "" || !s.Satisfied() {
		t.Errorf("%+v: want it Failed with its reason, and nothing unsatisfied", s)
	}
}
