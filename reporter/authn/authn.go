// Package authn authenticates and authorises readers of the report by asking the
// API server: a TokenReview for the token, and a SubjectAccessReview for the
// non-resource URL. It keeps the answers for a short time and limits how often it
// asks, since anyone on the pod network can send tokens.
package authn

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// API is the two questions to the API server.
type API interface {
	ReviewToken(ctx context.Context, token string) (authenticationv1.UserInfo, bool, error)
	ReviewAccess(ctx context.Context, user authenticationv1.UserInfo, path string) (bool, error)
}

const (
	// allowedFor is how long a reader keeps its access after it was taken away; the
	// kubelet's own default is two to five minutes.
	allowedFor = time.Minute
	// deniedFor is how long a new grant may take to be noticed.
	deniedFor = 10 * time.Second
	// maxAnswers bounds memory: an answer takes some 100 bytes.
	maxAnswers = 256
	// A wrong token costs the API server one request: one a second from each node
	// that is asked, after the burst.
	reviewInterval = time.Second
	reviewBurst    = 10
	reviewTimeout  = 5 * time.Second
	// maxTokenBytes is above that of any token: the API server's have about 1 KiB.
	maxTokenBytes = 12 << 10
)

// Reviewer authorises requests.
type Reviewer struct {
	api   API
	limit *rate.Limiter

	mu      sync.Mutex
	answers map[key]answer
}

// key identifies a question. The token itself is not kept.
type key struct {
	token [sha256.Size]byte
	path  string
}

type answer struct {
	status int
	text   string
	until  time.Time
}

// NewReviewer returns a Reviewer that asks api.
func NewReviewer(api API) *Reviewer {
	return &Reviewer{api: api, limit: rate.NewLimiter(rate.Every(reviewInterval), reviewBurst), answers: make(map[key]answer)}
}

// Authorize returns 200 where the holder of token may get path, or another status
// with the reason. An API server that does not answer denies.
func (r *Reviewer) Authorize(ctx context.Context, token, path string) (int, string) {
	if len(token) > maxTokenBytes {
		return http.StatusUnauthorized, "the token is too long"
	}
	k := key{sha256.Sum256([]byte(token)), path}
	if a, ok := r.known(k, time.Now()); ok {
		return a.status, a.text
	}
	if !r.limit.Allow() {
		return http.StatusTooManyRequests, "too many tokens were given that nodetune does not know yet; try again in some seconds"
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	a, err := r.ask(ctx, token, path)
	if err != nil {
		return http.StatusServiceUnavailable, reviewError(err)
	}
	r.keep(k, a, time.Now())
	return a.status, a.text
}

func (r *Reviewer) ask(ctx context.Context, token, path string) (answer, error) {
	user, ok, err := r.api.ReviewToken(ctx, token)
	if err != nil {
		return answer{}, fmt.Errorf("TokenReview: %w", err)
	}
	if !ok {
		return answer{status: http.StatusUnauthorized, text: "the API server does not accept the token"}, nil
	}
	allowed, err := r.api.ReviewAccess(ctx, user, path)
	if err != nil {
		return answer{}, fmt.Errorf("SubjectAccessReview: %w", err)
	}
	if !allowed {
		return answer{status: http.StatusForbidden, text: fmt.Sprintf("%s may not get the non-resource URL %s; bind it to a ClusterRole with nonResourceURLs: [%s] and verbs: [get]", user.Username, path, path)}, nil
	}
	return answer{status: http.StatusOK}, nil
}

func reviewError(err error) string {
	if apierrors.IsForbidden(err) {
		return "nodetune may not ask the API server about tokens; grant it create of tokenreviews and subjectaccessreviews, as the component report-authorised does"
	}
	return "the API server does not answer whether the token is valid; try again"
}

func (r *Reviewer) known(k key, now time.Time) (answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.answers[k]
	return a, ok && now.Before(a.until)
}

func (r *Reviewer) keep(k key, a answer, now time.Time) {
	a.until = now.Add(deniedFor)
	if a.status == http.StatusOK {
		a.until = now.Add(allowedFor)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) >= maxAnswers {
		r.forget(now)
	}
	r.answers[k] = a
}

// forget makes room: what is over goes, and if that is nothing, the answers that
// denied, so that wrong tokens do not displace readers.
func (r *Reviewer) forget(now time.Time) {
	for k, a := range r.answers {
		if !now.Before(a.until) || a.status != http.StatusOK {
			delete(r.answers, k)
		}
	}
	if len(r.answers) >= maxAnswers {
		clear(r.answers)
	}
}
