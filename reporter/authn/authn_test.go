package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// api knows the tokens of its users, and which of them may get /report.
type api struct {
	users  map[string]string // by token
	reader string
	err    error
	asked  int
}

func (a *api) ReviewToken(_ context.Context, token string) (authenticationv1.UserInfo, bool, error) {
	a.asked++
	user, ok := a.users[token]
	return authenticationv1.UserInfo{Username: user}, ok, a.err
}

func (a *api) ReviewAccess(_ context.Context, user authenticationv1.UserInfo, path string) (bool, error) {
	return user.Username == a.reader && path == "/report", a.err
}

func TestAuthorize(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "tokenreviews"}, "", errors.New("no"))
	for _, tt := range []struct {
		name, token, path string
		err               error
		want              int
		text              string
	}{
		{"a reader", "t1", "/report", nil, http.StatusOK, ""},
		{"a reader of another path", "t1", "/", nil, http.StatusForbidden, "nonResourceURLs: [/]"},
		{"another user", "t2", "/report", nil, http.StatusForbidden, "bob may not get"},
		{"an unknown token", "t3", "/report", nil, http.StatusUnauthorized, "does not accept"},
		{"a long token", strings.Repeat("x", 1<<20), "/report", nil, http.StatusUnauthorized, "too long"},
		{"no API server", "t1", "/report", errors.New("connection refused"), http.StatusServiceUnavailable, "does not answer"},
		{"no right to ask", "t1", "/report", forbidden, http.StatusServiceUnavailable, "report-authorised"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReviewer(&api{users: map[string]string{"t1": "alice", "t2": "bob"}, reader: "alice", err: tt.err})
			for range 2 { // the second time from memory
				if got, text := r.Authorize(t.Context(), tt.token, tt.path); got != tt.want || !strings.Contains(text, tt.text) {
					t.Errorf("got %d %q, want %d %q", got, text, tt.want, tt.text)
				}
			}
		})
	}
}

func TestAnswersAreKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{users: map[string]string{"t1": "alice"}, reader: "alice"}
		r := NewReviewer(a)
		ask := func() int { s, _ := r.Authorize(t.Context(), "t1", "/report"); return s }
		for range 100 {
			if ask() != http.StatusOK {
				t.Fatal("denied")
			}
		}
		if a.asked != 1 {
			t.Errorf("the API server was asked %d times", a.asked)
		}
		a.reader = "" // the right is taken away
		time.Sleep(allowedFor)
		if got := ask(); got != http.StatusForbidden {
			t.Errorf("a minute later: %d", got)
		}
		a.reader = "alice"
		time.Sleep(deniedFor)
		if got := ask(); got != http.StatusOK {
			t.Errorf("ten seconds after the grant: %d", got)
		}
	})
}

// Wrong tokens cost the API server one request a second, and a reader that is
// known keeps its access.
func TestAFloodOfTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{users: map[string]string{"t1": "alice"}, reader: "alice"}
		r := NewReviewer(a)
		r.Authorize(t.Context(), "t1", "/report")
		for i := range 1000 {
			r.Authorize(t.Context(), fmt.Sprint("wrong", i), "/report")
			time.Sleep(10 * time.Millisecond)
		}
		if a.asked > reviewBurst+11 {
			t.Errorf("the API server was asked %d times in ten seconds", a.asked)
		}
		if got, _ := r.Authorize(t.Context(), "t1", "/report"); got != http.StatusOK {
			t.Errorf("the reader gets %d", got)
		}
		for i := range 10 * maxAnswers {
			r.keep(key{path: fmt.Sprint(i)}, answer{status: http.StatusOK}, time.Now())
		}
		if len(r.answers) > maxAnswers {
			t.Errorf("%d answers are kept", len(r.answers))
		}
	})
}
