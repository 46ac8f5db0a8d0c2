/*
 * fleet.pml -- one row on its way MySQL -> Redis -> provider -> MySQL.  See README.md.
 *
 * Every atomic block is one thing that the real programs do atomically: one InnoDB transaction, one Lua script,
 * one request.  Between two blocks anything may happen for any time, or the program dies.  There is no clock:
 * leases end, rows are reconciled and grace periods are over at ANY moment, so slow and frozen programs are
 * covered without being named.
 *
 * Settings     NP NW NS       producers, workers, settlers
 *              MAXGEN MAXTOK  how many claims of the row, how many leases
 *              RESEND         the policy for unknown outcomes (default: hold)
 *              EXPIRE         a pending row may become skipped at any time
 *              AUDIT          the reaper drops jobs that have no business in Redis
 *              LOSS=n         Redis loses data n times: it comes back as it was at any earlier moment
 *              PROXY          something between reconnects silently: old incarnations pass until somebody looks
 *              LIVE           bounded faults, perfect detectors, and the liveness claim
 * Mutations    M_*            each breaks one rule; README.md says what each must show
 * Flaws        F_*            what a program does at present where this model does better; README.md says why
 */
#ifndef NP
#define NP 2
#endif
#ifndef NW
#define NW 2
#endif
#ifndef NS
#define NS 1
#endif
#ifndef MAXGEN
#define MAXGEN 2
#endif
#ifndef MAXTOK
#define MAXTOK 3
#endif
#ifndef LOSS
#define LOSS 0
#endif
#ifndef FAULTS
#define FAULTS 2
#endif

/* A delivery is named by (gen, token); sets of them are bit masks.  Token 0: nobody's, in doubt. */
#define BIT(g, t) (1 << (((g) - 1) * (MAXTOK + 1) + (t)))
#if MAXGEN * (MAXTOK + 1) <= 8
#define SET byte
#else
#define SET int
#endif

/* --- MySQL ---------------------------------------------------------------------------------------------- */
mtype:row = {PENDING, PROCESSING, QUEUED, SENT, FAILED, UNKNOWN}; /* FAILED: failed or skipped */
mtype:row row = PENDING;
byte gen = 0;
byte unknowns = 0;          /* attempts whose outcome is open */
SET applied = 0;            /* message_events: unknown results that were applied */
bool doubt = false;         /* rows that Redis does not know may have been sent by a silent worker */

/* --- Redis: the job's state word, the device's token, the results stream, the partition's meta -------------- */
mtype:job = {NONE, S, W, L, P, D, R, U};
mtype:job job = NONE;
byte jgen = 0, jtok = 0, tok = 0;
SET r_sent = 0, r_none = 0, r_late = 0, r_unknown = 0; /* r_none: certainly not sent; r_late: the same, late */
byte inc = 0;               /* the incarnation in meta */
bool open = true;
byte run = 0;               /* which life of the server this is: programs that look see it */

/* --- the provider's ledger and decisions -------------------------------------------------------------------- */
byte sends = 0, resends = 0;

/* --- workers: the delivery in hand, the journal, what was told ------------------------------------------------ */
#define NEVER 9
byte w_gen[NW] = 0, w_tok[NW] = 0;
byte w_inc[NW] = 0;         /* the incarnation of its lease */
mtype:flight = {IDLE, FLYING, SETTLED}; /* the journal's last record: FLYING outcome open; SETTLED: certainly not sent, not yet recorded */
mtype:flight w_fly[NW] = IDLE;
SET w_sent[NW] = 0, w_unknown[NW] = 0; /* journal: all outcomes that are told after a loss */
SET w_left[NW] = 0;         /* those of a dead predecessor that Redis has not answered */
byte told[NW] = 0;          /* the incarnation that was told everything */
byte last[NW] = 0;          /* the same, kept over a restart */
bool silent[NW] = false;    /* given up by a recovery: not waited for again until it reports */

/* --- gates ------------------------------------------------------------------------------------------------- */
/* A program that has just connected looks at every partition before it calls a verb; a worker's calls may
 * be under way before the answer (claim, finish, release: TOLD), and permit asks the server itself. */
#ifdef PROXY
#define OPEN (open)
#else
#define OPEN (open && inc == run)
#endif
#define TOLD(id) (open && told[id] == inc)

#ifdef F_PROBE
#define PROBE OPEN
#else
#define PROBE (open && inc == run)
#endif

/* --- faults ------------------------------------------------------------------------------------------------- */
#ifdef LIVE
byte faults = 0;
bool p_busy[NP] = false, w_busy[NW] = false;
#define FAULT (faults < FAULTS) -> faults++
#define PRODUCERS_DEAD (!p_busy[0] && !p_busy[NP - 1])
#define WORKERS_DEAD (!w_busy[0] && !w_busy[NW - 1])
#define CAN_STAGE (job == NONE || job == S || job == R)
#define P_BUSY(x) p_busy[id] = x
#define W_BUSY(x) w_busy[id] = x
#else
#define FAULT true
#define PRODUCERS_DEAD true
#define WORKERS_DEAD true
#define CAN_STAGE true
#define P_BUSY(x) skip
#define W_BUSY(x) skip
#endif

inline set_job(state, g, t)
{
	job = state;
	jgen = g;
	jtok = t
}

/* --- producer -------------------------------------------------------------------------------------------------- */
proctype Producer(byte id)
{
	byte g;
	bool ok;
idle:
	atomic { g = 0; ok = false; P_BUSY(false) }
end:	atomic {                       /* claim: pending -> processing */
		row == PENDING && gen < MAXGEN && CAN_STAGE ->
		row = PROCESSING;
		gen++;
		g = gen;
		P_BUSY(true)
	}
	if :: true :: FAULT; goto idle fi;
#ifdef M_NOVERIFY
	atomic {                       /* mutation: deliverable at once, called queued afterwards, unchecked */
		if
		:: OPEN && (job == NONE || job == S || job == R) -> set_job(W, g, 0)
		:: else
		fi
	}
	if :: true :: FAULT; goto idle fi;
	atomic { if :: row == PROCESSING -> row = QUEUED :: else fi };
	goto idle;
#else
	atomic {                       /* stage */
		if
		:: OPEN && (job == NONE || job == S || job == R
#ifdef M_STAGEOVER
			|| job == W || job == U
#endif
			) -> set_job(S, g, 0);
			if
			:: ok = true
			:: FAULT; ok = false     /* the answer is lost */
			fi
		:: else -> ok = false
		fi
	}
	if :: true :: FAULT; goto idle fi;
	if
	:: ok ->
		atomic {               /* queued, by compare-and-set on the claim */
			if
			:: row == PROCESSING && gen == g -> row = QUEUED
			:: else -> ok = false
			fi
		}
		if :: true :: FAULT; goto idle fi;
		atomic {               /* activate */
			if
			:: ok && OPEN && job == S && jgen == g ->
#if LOSS == 0
				assert(row == QUEUED && gen == g); /* verified for this very generation */
#endif
				set_job(W, g, 0)
			:: else
			fi
		}
	:: else ->
		atomic {               /* not staged: given back */
			if
			:: row == PROCESSING && gen == g -> row = PENDING
			:: else
			fi
		}
	fi;
	goto idle
#endif
}

/* --- worker ---------------------------------------------------------------------------------------------------- */
inline finish_sent(id)
{
	if
#ifdef M_FINISHTOKEN
	:: (job == L || job == P) && jgen == w_gen[id] ->
#else
	:: (job == L || job == P) && jgen == w_gen[id] && jtok == w_tok[id] ->
#endif
		set_job(D, w_gen[id], w_tok[id]);
		r_sent = r_sent | BIT(w_gen[id], w_tok[id])
	:: (job == D || job == R) && jgen == w_gen[id] && jtok == w_tok[id]   /* dup */
	:: job == P && !(jgen == w_gen[id] && jtok == w_tok[id]) ->             /* stale: somebody else's flight goes on */
		r_sent = r_sent | BIT(w_gen[id], w_tok[id])
	:: else ->                                                               /* late, or stale: nobody may start again */
#ifdef M_STALESENT
		r_sent = r_sent | BIT(w_gen[id], w_tok[id])
#else
		set_job(D, w_gen[id], w_tok[id]);
		r_sent = r_sent | BIT(w_gen[id], w_tok[id])
#endif
	fi
}

inline finish_none(id)
{
	if
#ifdef M_FINISHTOKEN
	:: (job == L || job == P) && jgen == w_gen[id] ->
#else
	:: (job == L || job == P) && jgen == w_gen[id] && jtok == w_tok[id] ->
#endif
		set_job(R, w_gen[id], w_tok[id]);
		r_none = r_none | BIT(w_gen[id], w_tok[id])
	:: job == U && jgen == w_gen[id] && jtok == w_tok[id] ->
		set_job(R, w_gen[id], w_tok[id]);
		r_late = r_late | BIT(w_gen[id], w_tok[id])
	:: else
	fi
}

inline finish_unknown(id)
{
	if
#ifdef M_FINISHTOKEN
	:: (job == L || job == P) && jgen == w_gen[id] ->
#else
	:: (job == L || job == P) && jgen == w_gen[id] && jtok == w_tok[id] ->
#endif
		set_job(U, w_gen[id], w_tok[id]);
		r_unknown = r_unknown | BIT(w_gen[id], w_tok[id])
	:: else
	fi
}

/* A lease dies with its incarnation: tokens start again from what Redis remembers. */
#ifdef F_LEASE
#define LEASE_DEAD(id) false
#else
#define LEASE_DEAD(id) (told[id] != w_inc[id])
#endif

mtype:outcome = {O_SENT, O_NONE, O_UNKNOWN};

proctype Worker(byte id)
{
	mtype:outcome o;
idle:
	atomic { w_gen[id] = 0; w_tok[id] = 0; w_inc[id] = 0; w_fly[id] = IDLE; o = 0; W_BUSY(false) }
end:	atomic {                       /* claim */
		TOLD(id) && job == W && tok < MAXTOK ->
		tok++;
		set_job(L, jgen, tok);
		w_gen[id] = jgen;
		w_tok[id] = tok;
		w_inc[id] = told[id];
		W_BUSY(true)
	}
	if
	:: true
	:: FAULT; goto dead
	:: FAULT -> goto release
	fi;
end_permit:
	if
	:: atomic {
		TOLD(id) && inc == run && !LEASE_DEAD(id) ->     /* permit: it asks the server who it is */
		if
#if defined(M_NOPERMIT)
		:: job == L || job == P ->                        /* mutation: looks, but leaves no trace */
#elif defined(M_PERMITTOKEN)
		:: (job == L || job == P) && jgen == w_gen[id] ->
			job = P;
#else
		:: (job == L || job == P) && jgen == w_gen[id] && jtok == w_tok[id] ->
			job = P;
#endif
			if
			:: w_fly[id] = FLYING                    /* go: journalled in the same turn of the loop */
			:: FAULT; goto end_permit                /* the answer is lost: asked again */
			:: FAULT; goto release                   /* the answer is lost, and the worker drains */
			fi
		:: else -> goto idle                              /* stale */
		fi
	   }
	:: atomic { LEASE_DEAD(id) -> goto idle }
	fi;
	if
	:: true
	:: FAULT; goto dead
	fi;
	if
	:: atomic {
		sends++;                                          /* the request reaches the provider */
		assert(sends <= 1 + resends);
#if LOSS == 0 && !defined(RESEND)
		assert(row != FAILED);
#endif
		if
		:: o = O_SENT;
			w_fly[id] = IDLE;
			w_sent[id] = w_sent[id] | BIT(w_gen[id], w_tok[id])
		:: FAULT; o = O_UNKNOWN;
			w_fly[id] = IDLE;
			w_unknown[id] = w_unknown[id] | BIT(w_gen[id], w_tok[id])
		:: FAULT; goto dead
		fi
	   }
	:: atomic {
		FAULT;                                            /* it does not, and that is certain or not */
		if
		:: o = O_NONE; w_fly[id] = SETTLED
		:: o = O_UNKNOWN;
			w_fly[id] = IDLE;
			w_unknown[id] = w_unknown[id] | BIT(w_gen[id], w_tok[id])
		fi
	   }
	fi;
	if
	:: true
	:: FAULT; goto dead
	fi;
end_finish:
	atomic {
		TOLD(id) ->
		if
		:: o == O_SENT ->
			finish_sent(id);
			assert(row == SENT || r_sent != 0)   /* knowledge of a send is on its way, or has arrived */
		:: o == O_NONE -> finish_none(id)
		:: o == O_UNKNOWN -> finish_unknown(id)
		fi;
		if
		:: goto idle
		:: FAULT; goto end_finish                        /* the answer is lost: the same call again */
		:: FAULT; goto dead
		fi
	};
release:
	atomic { FAULT; goto idle };                             /* the call is lost: the lease will end */
dead:
	atomic {                                                  /* its successor takes the journal over */
		if
		:: w_fly[id] == FLYING ->
			w_unknown[id] = w_unknown[id] | BIT(w_gen[id], w_tok[id]);
			w_left[id] = w_left[id] | BIT(w_gen[id], w_tok[id])
		:: w_fly[id] != FLYING && o != 0 && o != O_NONE ->
			w_left[id] = w_left[id] | BIT(w_gen[id], w_tok[id])
		:: else
		fi;
		told[id] = NEVER;
		goto idle
	}
}
