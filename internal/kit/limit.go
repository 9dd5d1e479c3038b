package kit

import (
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/fault"
)

// limiter bounds what each principal has in flight and how fast it asks. Its counts are this process's own.
type limiter struct {
	limits Limits
	clock  clock.Clock

	mu  sync.Mutex
	all map[principalKey]*principal
}

type principalKey struct {
	kind access.Kind
	id   string
}

type principal struct {
	requests int // guarded by limiter.mu, like streams
	streams  int
	bucket   *rate.Limiter
}

// maxIdle is how many principals are remembered before idle ones are forgotten.
const maxIdle = 8192

func newLimiter(l Limits, c clock.Clock) *limiter {
	return &limiter{limits: l, clock: c, all: map[principalKey]*principal{}}
}

// enter takes a place for one call, or refuses with 429: the call was not processed (contract/behaviour.md §1.4.19).
func (l *limiter) enter(s *access.Subject, stream bool, h http.Header) (*principal, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := principalKey{s.Kind, s.ID}
	p := l.all[key]
	if p == nil {
		l.forget()
		p = &principal{}
		if l.limits.PerSecond > 0 {
			p.bucket = rate.NewLimiter(rate.Limit(l.limits.PerSecond), l.limits.Burst)
		}
		l.all[key] = p
	}
	if p.bucket != nil {
		if err := l.spend(p.bucket, h); err != nil {
			return nil, err
		}
	}
	count, most, what := &p.requests, l.limits.Requests, "requests"
	if stream {
		count, most, what = &p.streams, l.limits.Streams, "streams"
	}
	if most >= 0 && *count >= most {
		return nil, &fault.Error{
			Kind: fault.RateLimited, RetryAfter: time.Second,
			Message: "more than " + strconv.Itoa(most) + " " + what + " at a time",
		}
	}
	*count++
	return p, nil
}

// spend takes a token and tells how many are left. Reset is the Unix second at which the bucket is full again.
func (l *limiter) spend(b *rate.Limiter, h http.Header) error {
	now := l.clock.Now()
	ok := b.AllowN(now, 1)
	tokens := b.TokensAt(now)
	lacking := float64(b.Burst()) - tokens
	full := now.Add(time.Duration(lacking / l.limits.PerSecond * float64(time.Second)))
	h.Set("X-RateLimit-Limit", strconv.Itoa(b.Burst()))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, int(tokens))))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(full.Add(time.Second-1).Unix(), 10))
	if ok {
		return nil
	}
	wait := time.Duration((1 - tokens) / l.limits.PerSecond * float64(time.Second))
	return &fault.Error{Kind: fault.RateLimited, Message: "too many requests; slow down", RetryAfter: wait}
}

func (l *limiter) leave(p *principal, stream bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stream {
		p.streams--
	} else {
		p.requests--
	}
}

// forget drops principals that have nothing in flight and a full bucket, once there are many.
func (l *limiter) forget() {
	if len(l.all) < maxIdle {
		return
	}
	now := l.clock.Now()
	for key, p := range l.all {
		if p.requests == 0 && p.streams == 0 && (p.bucket == nil || p.bucket.TokensAt(now) >= float64(l.limits.Burst)) {
			delete(l.all, key)
		}
	}
}

// unknownKeys counts refused keys per address and minute. Known keys never meet it: they are looked up first.
type unknownKeys struct {
	most  int
	clock clock.Clock

	mu     sync.Mutex
	minute int64
	counts map[netip.Addr]int
}

// maxAddresses bounds the memory of one minute; past it all new addresses share one count.
const maxAddresses = 1 << 16

func newUnknownKeys(most int, c clock.Clock) *unknownKeys {
	return &unknownKeys{most: most, clock: c, counts: map[netip.Addr]int{}}
}

// count counts a refused key and tells how long the address has to wait, 0 while it is within the limit.
func (u *unknownKeys) count(a netip.Addr) time.Duration {
	if u.most < 0 {
		return 0
	}
	if a.Is6() { // whoever has one address of a /64 has them all
		if p, err := a.Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	now := u.clock.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if m := now.Unix() / 60; m != u.minute {
		u.minute = m
		clear(u.counts)
	}
	if _, ok := u.counts[a]; !ok && len(u.counts) >= maxAddresses {
		a = netip.Addr{}
	}
	if u.counts[a]++; u.counts[a] <= u.most {
		return 0
	}
	return time.Unix((u.minute+1)*60, 0).Sub(now)
}
