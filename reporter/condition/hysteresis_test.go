package condition

import (
	"strings"
	"testing"
	"testing/quick"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

var testPolicy = Policy{EnterPasses: 2, LeavePasses: 5}

// levels are written one letter a pass: b(ad), c(lear), - (between), s(tale),
// u(nevaluated), r(epeat of the pass before).
func passes(letters string) []Evaluation {
	level := map[byte]Severity{'b': Bad, 'c': Clear, '-': Between, 's': Unknown, 'u': Unevaluated}
	var all []Evaluation
	at := reportertest.Noon
	for i := range len(letters) {
		if letters[i] == 'r' {
			all = append(all, all[len(all)-1])
			continue
		}
		at = at.Add(time.Minute)
		all = append(all, Evaluation{
			Type: InotifyPressure, Severity: level[letters[i]], At: at,
			Reason: "R" + letters[i:i+1], Message: letters[:i+1],
		})
	}
	return all
}

func TestSettle(t *testing.T) {
	adopted := func(status corev1.ConditionStatus) States {
		return Adopt([]corev1.NodeCondition{{
			Type: InotifyPressure, Status: status, Reason: "Adopted",
			LastTransitionTime: metav1.NewTime(reportertest.Noon.Add(-time.Hour)),
		}})
	}
	for _, tt := range []struct {
		name   string
		prev   States
		passes string
		want   string // status after each pass: T, F, U, or . for not published
		reason string // the last one
	}{
		{"healthy from the first pass", nil, "ccc", "FFF", "Rc"},
		{"no false healthy before the second bad pass", nil, "bb", ".T", "Rb"},
		{"between at the start is not pressure", nil, "-b-b", "FFFF", "R-"},
		{"one bad pass is not enough", nil, "cbcbc", "FFFFF", "Rc"},
		{"the same pass counts once", nil, "cbrr", "FFFF", "Rc"},
		{"left after five clear passes", nil, "bbccccc", ".TTTTTF", "Rc"},
		{"between ends the row", nil, "bbcccc-ccccc", ".TTTTTTTTTTF", "Rc"},
		{"the words of the problem stay while it is being left", nil, "bbcc", ".TTT", "Rb"},
		{"not yet evaluated publishes nothing", nil, "uu", "..", ""},
		{"stale is unknown and returns as it was", nil, "bbss-", ".TUUT", "Rb"},
		{"stale forgets no healthy state", nil, "csb", "FUF", "Rc"},
		{"adopted True is not healthy before five passes", adopted("True"), "ucccc", "TTTTT", "Adopted"},
		{"adopted False enters after two", adopted("False"), "bb", "FT", "Rb"},
		{"adopted Unknown stays until decided", adopted("Unknown"), "bb", "UT", "Rb"},
		{"adopted Unknown recovers", adopted("Unknown"), "c", "F", "Rc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.prev
			var got strings.Builder
			var last corev1.NodeCondition
			for _, v := range passes(tt.passes) {
				s, _ = Update(s, []Evaluation{v}, v.At, testPolicy)
				c := s.Conditions()
				if len(c) == 0 {
					got.WriteByte('.')
					continue
				}
				last = c[0]
				got.WriteByte(last.Status[0])
			}
			if got.String() != tt.want {
				t.Errorf("passes %s: got %s, want %s", tt.passes, &got, tt.want)
			}
			if last.Reason != tt.reason {
				t.Errorf("reason %q, want %q", last.Reason, tt.reason)
			}
		})
	}
}

func TestSettleKeepsLastTransitionTime(t *testing.T) {
	since := metav1.NewTime(reportertest.Noon.Add(-48 * time.Hour))
	s := Adopt([]corev1.NodeCondition{{Type: InotifyPressure, Status: "True", LastTransitionTime: since}})
	for _, v := range passes("bbbbcb") {
		var changes []Transition
		s, changes = Update(s, []Evaluation{v}, v.At, testPolicy)
		if len(changes) > 0 {
			t.Fatalf("transition %v after a restart with the same status", changes)
		}
	}
	if got := s.Conditions()[0].LastTransitionTime; got != since {
		t.Errorf("LastTransitionTime %v, want %v", got, since)
	}
}

// Whatever the passes: a status never changes without its row, every change is
// reported once, and LastTransitionTime moves with the status alone.
func TestSettleProperties(t *testing.T) {
	property := func(seed []byte) bool {
		var letters strings.Builder
		letters.WriteByte('c')
		for _, b := range seed {
			letters.WriteByte("bbbccccc-sur"[int(b)%12])
		}
		var s States
		var prev corev1.NodeCondition
		for i, v := range passes(letters.String()) {
			next, changes := Update(s, []Evaluation{v}, reportertest.Noon.Add(time.Duration(i)*time.Minute), testPolicy)
			c := next.Conditions()[0]
			moved := c.LastTransitionTime != prev.LastTransitionTime
			if moved != (c.Status != prev.Status) || moved != (len(changes) == 1) {
				return false
			}
			// Straight from False to True takes two bad passes, the other way five.
			upto := strings.ReplaceAll(strings.ReplaceAll(letters.String()[:i+1], "r", ""), "u", "")
			if prev.Status == "False" && c.Status == "True" && !strings.HasSuffix(upto, "bb") {
				return false
			}
			if prev.Status == "True" && c.Status == "False" && !strings.HasSuffix(upto, "ccccc") {
				return false
			}
			s, prev = next, c
		}
		return true
	}
	if err := quick.Check(property, nil); err != nil {
		t.Error(err)
	}
}

func TestMessageIsBounded(t *testing.T) {
	property := func(s string, n uint8) bool {
		long := strings.Repeat("ä"+s, int(n))
		m := truncate(long)
		return len(m) <= maxMessageBytes && (utf8.ValidString(m) || !utf8.ValidString(long)) &&
			(m == long || strings.HasPrefix(long, strings.TrimSuffix(m, "...")))
	}
	if err := quick.Check(property, nil); err != nil {
		t.Error(err)
	}
}
