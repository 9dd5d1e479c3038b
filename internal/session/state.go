package session

import (
	"gantry/internal/platform/fault"
)

// Status is the coarse state of contract/behaviour.md §3.1.
type Status string

// The statuses.
const (
	StatusNew       Status = "new"
	StatusClaimed   Status = "claimed"
	StatusRunning   Status = "running"
	StatusSuspended Status = "suspended"
	StatusResuming  Status = "resuming"
	StatusExit      Status = "exit"
	StatusError     Status = "error"
)

// Detail says more about running and suspended; it is empty with every other status.
type Detail string

// The details of a running session.
const (
	Working            Detail = "working"
	WaitingForUser     Detail = "waiting_for_user"
	WaitingForApproval Detail = "waiting_for_approval"
	Finished           Detail = "finished"
)

// The details of a suspended session that Gantry causes.
const (
	Inactivity            Detail = "inactivity"
	UserRequest           Detail = "user_request"
	UsageLimitExceeded    Detail = "usage_limit_exceeded"
	OrgUsageLimitExceeded Detail = "org_usage_limit_exceeded"

	UserUsageLimitExceeded    Detail = "user_usage_limit_exceeded"
	TotalSessionLimitExceeded Detail = "total_session_limit_exceeded"
)

// State is a status with its detail.
type State struct {
	Status Status
	Detail Detail
}

// Over reports whether nothing can follow: terminate is final, and so is an error beyond repair.
func (s State) Over() bool { return s.Status == StatusExit || s.Status == StatusError }

// Queued reports whether the session waits for a worker or for its first report.
func (s State) Queued() bool {
	return s.Status == StatusNew || s.Status == StatusClaimed || s.Status == StatusResuming
}

// Parked reports whether the session waits for somebody and needs no worker.
func (s State) Parked() bool {
	return s.Status == StatusRunning && (s.Detail == WaitingForUser || s.Detail == Finished)
}

// Cause is what may change a session's state. Those that begin with By come from a worker; a worker can cause no other.
type Cause int

// The causes.
const (
	Claim             Cause = iota // a worker took it
	Lapse                          // its lease ended, or its worker gave it back
	ByWorking                      // the agent works
	ByWaiting                      // the agent asks the user, or can't go on without
	ByAsking                       // the agent asks for approval in mid-turn
	ByFinishing                    // the agent's turn ended
	ByDraining                     // the worker closed the agent because it goes away
	ByFailing                      // beyond repair
	Message                        // a user wrote
	Idle                           // nobody wrote for the idle time
	Sleep                          // a user archived it
	LimitReached                   // the run's ACU limit
	TotalLimitReached              // the enterprise's limit on one session's total
	OrgLimitReached                // the ACU limit of the organization, its group or the enterprise
	UserLimitReached               // the ACU limit of the user whose session it is
	Terminate                      // a user ended it
	causeCount                     // for tests that walk the table
)

// Next gives the state that follows. ok is false when the cause changes nothing in this state, which is an error for some callers
// and nothing for others. It is the only place that decides it.
func (s State) Next(c Cause, resumable bool) (next State, ok bool) {
	if s.Over() {
		return s, false
	}
	switch c {
	case Claim:
		return s.claimed()
	case Lapse, ByDraining:
		return s.lapsed()
	case ByWorking:
		return s.reported(Working)
	case ByWaiting:
		return s.reported(WaitingForUser)
	case ByAsking:
		return s.reported(WaitingForApproval)
	case ByFinishing:
		return s.reported(Finished)
	case ByFailing:
		return State{Status: StatusError}, s.held()
	case Message:
		return s.messaged()
	case Idle:
		return s.asleep(Inactivity, resumable, s.Parked() || s.Detail == WaitingForApproval)
	case Sleep:
		return s.asleep(UserRequest, resumable, s.Status != StatusSuspended)
	case LimitReached:
		return s.asleep(UsageLimitExceeded, true, s.Status != StatusSuspended)
	case OrgLimitReached:
		return s.asleep(OrgUsageLimitExceeded, true, s.Status != StatusSuspended)
	case TotalLimitReached:
		return s.asleep(TotalSessionLimitExceeded, true, s.Status != StatusSuspended)
	case UserLimitReached:
		return s.asleep(UserUsageLimitExceeded, true, s.Status != StatusSuspended)
	case Terminate:
		return State{Status: StatusExit}, true
	case causeCount:
	}
	return s, false
}

// held reports whether a worker may hold the session.
func (s State) held() bool {
	return s.Status == StatusClaimed || s.Status == StatusResuming || s.Status == StatusRunning
}

func (s State) claimed() (State, bool) {
	switch s.Status {
	case StatusNew:
		return State{Status: StatusClaimed}, true
	case StatusClaimed, StatusResuming:
		return s, true // a resumed session stays resuming until its first report
	case StatusRunning, StatusSuspended, StatusExit, StatusError:
	}
	return s, false
}

func (s State) lapsed() (State, bool) {
	switch s.Status {
	case StatusClaimed:
		return State{Status: StatusNew}, true
	case StatusRunning:
		return State{Status: StatusResuming}, !s.Parked()
	case StatusResuming:
		return s, true
	case StatusNew, StatusSuspended, StatusExit, StatusError:
	}
	return s, false
}

func (s State) reported(d Detail) (State, bool) {
	return State{Status: StatusRunning, Detail: d}, s.held()
}

// messaged: a message wakes what sleeps or waits and changes nothing about what works.
func (s State) messaged() (State, bool) {
	if s.Status == StatusSuspended || s.Parked() {
		return State{Status: StatusResuming}, true
	}
	return s, false
}

// asleep: a session that can't be resumed has nothing to sleep on; it ends (contract/behaviour.md §3.1 7).
func (s State) asleep(d Detail, resumable, may bool) (State, bool) {
	if !may {
		return s, false
	}
	if !resumable {
		return State{Status: StatusExit}, true
	}
	return State{Status: StatusSuspended, Detail: d}, true
}

// errEnded is the answer to a wish that an ended session can't fulfil (contract/behaviour.md §3.2 9).
func errEnded(s State) error {
	if s.Status == StatusError {
		return fault.New(fault.Conflict, "session has ended with an error; create a new session to go on")
	}
	return fault.New(fault.Conflict, "session has ended; create a new session to go on")
}
