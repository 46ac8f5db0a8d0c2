/*
 * fleet.pml -- one row on its way MySQL -> Redis -> provider -> MySQL.  README.md says what is checked.
 *
 * Every atomic block is one thing that the real programs do atomically: one InnoDB transaction, one Lua script,
 * one request.  Between two blocks anything may happen for any time, or the program dies.  There is no clock:
 * leases end, rows are reconciled, graces are over at ANY moment, so slow and frozen programs are covered
 * without being named.
 *
 * Settings   NP NW NS        producers, workers, settlers
 *            MAXGEN MAXTOK   claims of the row, leases
 *            RESEND          the policy for unknown outcomes (default: hold)
 *            SKIP            a pending row may become skipped at any moment
 *            AUDIT           the reaper drops jobs that have no business in Redis
 *            LOSS=n          Redis loses data n times: it comes back as it was at any earlier moment
 *            NOGRACE         a recovery waits for every worker, however long
 *            PROXY           something between reconnects silently: an old incarnation passes until somebody looks
 *            LIVE FAULTS=n   at most n faults, perfect detectors, and the claim that every row ends
 * Mutations  M_*             each breaks one rule of the design
 * Flaws      F_*             each is what a program does where the design needs more
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

/* A delivery is named by (gen, token); sets of them are bit masks.  Token 0 is nobody's: a job in doubt. */
#define BITS (MAXGEN * (MAXTOK + 1))
#define BIT(g, t) (1 << (((g) - 1) * (MAXTOK + 1) + (t)))
#define BIT_GEN(i) ((i) / (MAXTOK + 1) + 1)
#define BIT_TOK(i) ((i) % (MAXTOK + 1))
#if MAXGEN * (MAXTOK + 1) <= 8
#define SET byte
#else
#define SET int
#endif

/* --- MySQL ------------------------------------------------------------------------------------------------ */
mtype = {PENDING, PROCESSING, QUEUED, SENT, FAILED, UNKNOWN}; /* FAILED: failed or skipped */
mtype row = PENDING;
byte gen = 0;
byte unknowns = 0;      /* attempts whose outcome is open */
SET applied = 0;        /* message_events: deliveries whose outcome was written */
bool doubt = false;     /* what Redis does not know may have been sent by a worker that did not report */

/* --- Redis: the job's state word, the device's token, the results stream, the partition's meta ------------ */
mtype = {NONE, S, W, L, P, D, R, U};
mtype job = NONE;
byte jgen = 0, jtok = 0, tok = 0;
SET r_sent = 0, r_none = 0, r_late = 0, r_unknown = 0; /* r_none: certainly not sent; r_late: the same, late */
byte inc = 0;           /* the incarnation in meta */
bool open = true;
byte life = 0;          /* which life of the server this is, for those who look */
byte losses = 0;

/* --- the provider's ledger, and decisions ------------------------------------------------------------------ */
byte sends = 0, resends = 0;
bool known = false;     /* Redis has been told that it was sent */

/* --- workers: the delivery in hand, the journal, what Redis was told --------------------------------------- */
#define NEVER 9
mtype = {IDLE, FLYING, SETTLED}; /* SETTLED: certainly not sent, and Redis has not answered yet */
mtype w_fly[NW] = IDLE;
byte w_gen[NW] = 0, w_tok[NW] = 0;                /* its lease */
SET w_sent[NW] = 0, w_unknown[NW] = 0;            /* journal: what is told after a loss */
SET w_left[NW] = 0;                               /* of these: what a dead predecessor could not record */
byte told[NW] = 0;                                /* the incarnation that knows the journal */
byte told_last[NW] = 0;                           /* the same, over a restart */
bool missed[NW] = false;                          /* a recovery has given it up; it is not waited for again */

/* --- gates -------------------------------------------------------------------------------------------------- */
/* A program that has just connected looks at its partitions before anything else, and calls no verb with an
 * incarnation of an earlier server.  A worker's calls may be on their way before that look is answered. */
#ifdef PROXY
#define OPEN (open)
#else
#define OPEN (open && inc == life)
#endif
#define SAME_SERVER (inc == life)
#define TOLD(id) (open && told[id] == inc)

/* --- faults --------------------------------------------------------------------------------------------------- */
#ifdef LIVE
byte faults = 0;
bool p_busy[NP] = false, w_busy[NW] = false;
#define FAULT (faults < FAULTS) -> faults++
#define PRODUCERS_DEAD (!p_busy[0] && !p_busy[NP - 1])
#define WORKERS_DEAD (!w_busy[0] && !w_busy[NW - 1])
#define CAN_STAGE (job == NONE || job == S || job == R) /* what cannot be staged waits, and costs no claim */
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

/* Faults that do not matter for what Redis loses are left out where it does. */
#if LOSS > 0 && !defined(ALLFAULTS)
#define LOST false
#else
#define LOST FAULT
#endif

inline set_job(state, g, t)
{
	job = state; jgen = g; jtok = t
}

/* --- producer --------------------------------------------------------------------------------------------------- */
#define P_REST g = 0; ok = false; P_BUSY(false); goto idle

proctype Producer(byte id)
{
	byte g;
	bool ok;
idle:
end:	atomic {                                        /* claim: pending -> processing */
		row == PENDING && gen < MAXGEN && CAN_STAGE ->
		row = PROCESSING; gen++; g = gen; P_BUSY(true)
	}
#ifdef M_NOVERIFY
	if
	:: atomic {                                     /* mutation: deliverable at once, called queued unchecked */
		true ->
		if
		:: OPEN && (job == NONE || job == S || job == R) -> set_job(W, g, 0)
		:: else
		fi }
	:: atomic { FAULT; P_REST }
	fi;
	atomic {
		if
		:: row == PROCESSING -> row = QUEUED
		:: FAULT
		fi;
		P_REST }
#else
	if
	:: atomic {                                     /* stage */
		true ->
		if
		:: OPEN && (job == NONE || job == S || job == R
#ifdef M_STAGEOVER
			|| job == W || job == U
#endif
			) ->
			set_job(S, g, 0);
			if
			:: ok = true
			:: LOST; ok = false             /* the answer is lost: taken for "not staged" */
			fi
		:: else -> ok = false
		fi }
	:: atomic { FAULT; P_REST }
	fi;
	if
	:: atomic { ok ->                               /* queued: compare-and-set on the claim */
		if
		:: row == PROCESSING && gen == g -> row = QUEUED
		:: else -> P_REST
		fi }
	:: atomic { !ok ->                              /* not staged: given back */
		if
		:: row == PROCESSING && gen == g -> row = PENDING
		:: else
		fi;
		P_REST }
	:: atomic { FAULT; P_REST }
	fi;
	if
	:: atomic {                                     /* activate */
		true ->
		if
		:: OPEN && job == S && jgen == g ->
#if LOSS == 0
			assert(row == QUEUED && gen == g); /* verified for this very generation, and still so */
#endif
			set_job(W, g, 0)
		:: else
		fi;
		P_REST }
	:: atomic { FAULT; P_REST }
	fi
#endif
}

/* --- worker --------------------------------------------------------------------------------------------------- */
#ifdef M_FINISHTOKEN
#define MINE(id) ((job == L || job == P) && jgen == w_gen[id])
#else
#define MINE(id) ((job == L || job == P) && jgen == w_gen[id] && jtok == w_tok[id])
#endif
#ifdef M_PERMITTOKEN
#define PERMITTED(id) ((job == L || job == P) && jgen == w_gen[id])
#else
#define PERMITTED(id) ((job == L || job == P) && jgen == w_gen[id] && jtok == w_tok[id])
#endif
#define SAME(id) (jgen == w_gen[id] && jtok == w_tok[id])

inline finish_sent(id)
{
	known = true;
	if
	:: MINE(id) -> set_job(D, w_gen[id], w_tok[id]); r_sent = r_sent | BIT(w_gen[id], w_tok[id])
	:: (job == D || job == R) && SAME(id)           /* dup */
	:: else ->
		r_sent = r_sent | BIT(w_gen[id], w_tok[id]);
		if
#ifdef M_STALESENT
		:: job == P || job == L || job == W     /* mutation: it is recorded, but goes out again */
#else
		:: job == P                             /* stale: somebody else's flight cannot be called back */
#endif
		:: else -> set_job(D, w_gen[id], w_tok[id]) /* late or stale: nobody may start to send it again */
		fi
	fi
}

inline finish_none(id)
{
	if
	:: MINE(id) -> set_job(R, w_gen[id], w_tok[id]); r_none = r_none | BIT(w_gen[id], w_tok[id])
	:: job == U && SAME(id) -> set_job(R, w_gen[id], w_tok[id]); r_late = r_late | BIT(w_gen[id], w_tok[id])
	:: else
	fi
}

inline finish_unknown(id)
{
	if
	:: MINE(id) -> set_job(U, w_gen[id], w_tok[id]); r_unknown = r_unknown | BIT(w_gen[id], w_tok[id])
	:: else
	fi
}

mtype = {O_SENT, O_NONE, O_UNKNOWN};

#define W_REST w_gen[id] = 0; w_tok[id] = 0; w_fly[id] = IDLE; o = 0; W_BUSY(false); goto idle
#if LOSS > 0
#define NOTE(set) set[id] = set[id] | BIT(w_gen[id], w_tok[id])
#else
#define NOTE(set) skip /* a record that nobody will ask for */
#endif

proctype Worker(byte id)
{
	mtype o;
idle:
end:	atomic {                                        /* claim */
		TOLD(id) && job == W && tok < MAXTOK ->
		tok++; set_job(L, jgen, tok);
		w_gen[id] = jgen; w_tok[id] = tok; W_BUSY(true)
	}
end_permit:
	if
	:: atomic {
		TOLD(id) && SAME_SERVER -> /* permit asks the server itself */
		if
#ifdef M_NOPERMIT
		:: job == L && SAME(id) ->              /* mutation: the worker looks, and leaves no trace */
#else
		:: PERMITTED(id) ->
#if LOSS == 0
			assert(job == P || !known);     /* nobody starts to send what is known to be sent */
#endif
			job = P;
#endif
			if
			:: w_fly[id] = FLYING           /* go; journalled before anything else is done */
			:: FAULT; goto end_permit       /* the answer is lost: asked again, */
			:: FAULT; goto end_release      /* or given up, because the worker drains */
			fi
		:: else -> W_REST                    /* stale */
		fi }
	:: atomic { LOST; o = O_NONE; goto end_finish } /* it cannot be sent by anybody: failed, without a permit */
	:: atomic { FAULT; goto end_release }
	:: atomic { FAULT; goto dead }
	fi;
	if
	:: atomic {                                     /* the request reaches the provider */
		true ->
		sends++;
		assert(sends <= 1 + resends);
#if LOSS == 0 && !defined(RESEND)
		assert(row != FAILED);                  /* what is called failed or skipped is not sent afterwards */
#endif
		if
		:: o = O_SENT; w_fly[id] = IDLE; NOTE(w_sent)
		:: FAULT; o = O_UNKNOWN; w_fly[id] = IDLE; NOTE(w_unknown)
		:: FAULT; goto dead
		fi }
	:: atomic {                                     /* it does not, and that is certain or not */
		FAULT;
		if
		:: o = O_NONE; w_fly[id] = SETTLED
		:: o = O_UNKNOWN; w_fly[id] = IDLE; NOTE(w_unknown)
		fi }
	:: atomic { FAULT; goto dead }
	fi;
end_finish:
	if
	:: atomic {
		TOLD(id) ->
		if
		:: o == O_SENT ->
			finish_sent(id);
			/* A known send is on its way to MySQL, or has arrived (or will be told again: the journal). */
			assert(row == SENT || r_sent != 0 || !SAME_SERVER)
		:: o == O_NONE -> finish_none(id)
		:: o == O_UNKNOWN -> finish_unknown(id)
		fi;
		if
		:: W_REST
		:: LOST; goto end_finish                /* the answer is lost: the same call again */
		:: FAULT; goto dead
		fi }
	:: atomic { FAULT; goto dead }
	fi;
end_release:
	if
	:: atomic {
		TOLD(id) ->
		if
		:: PERMITTED(id) -> set_job(W, jgen, 0)
		:: else
		fi;
		W_REST }
	:: atomic { LOST; W_REST }                   /* the call is lost: the lease ends some day */
	fi;
dead:
	atomic {                                        /* whoever starts in its place takes its journal */
		if
		:: w_fly[id] == FLYING || o == O_UNKNOWN ->
			w_unknown[id] = w_unknown[id] | BIT(w_gen[id], w_tok[id]);
			w_left[id] = w_left[id] | BIT(w_gen[id], w_tok[id])
		:: o == O_SENT ->
			w_sent[id] = w_sent[id] | BIT(w_gen[id], w_tok[id]);
			w_left[id] = w_left[id] | BIT(w_gen[id], w_tok[id])
		:: else
		fi;
		told[id] = NEVER;
		W_REST
	}
}

/* --- what a new incarnation, or a new worker, tells Redis from its journal ---------------------------------- */
/* The state of an older generation that MySQL has answered already says nothing about this one. */
#ifdef F_KNOWN
#define ANSWERED(g) (job == R || job == U)
#else
#define ANSWERED(g) ((job == R || job == U) && jgen >= (g))
#endif

inline reassert_flying(g, t)
{
	if
	:: job == D || ANSWERED(g) || (job != NONE && jgen > (g)) /* known */
	:: else -> set_job(P, g, t)
	fi
}

inline reassert_unknown(g, t)
{
	if
	:: job == D || ANSWERED(g) || (job != NONE && jgen > (g)) /* known */
	:: else -> set_job(U, g, t); r_unknown = r_unknown | BIT(g, t)
	fi
}

inline reassert_sent(g, t)
{
	if
	:: job == D                                     /* known */
	:: else -> set_job(D, g, t); r_sent = r_sent | BIT(g, t)
	fi
}

#ifdef F_TOKEN
#define RAISE(t) tok = (tok < (t) -> (t) : tok)
#else
#define RAISE(t) skip
#endif

proctype Teller(byte id)
{
	byte i;
end:	do
	:: atomic {
		SAME_SERVER && told[id] != inc ->
#ifndef M_NOJOURNAL
		/* Of the same incarnation only what was left; of another one everything. */
		i = 0;
		do
		:: i < BITS ->
			if
			:: (w_unknown[id] & (1 << i)) && (told_last[id] != inc || (w_left[id] & (1 << i))) ->
				RAISE(BIT_TOK(i)); reassert_unknown(BIT_GEN(i), BIT_TOK(i))
			:: else
			fi;
			if
			:: (w_sent[id] & (1 << i)) && (told_last[id] != inc || (w_left[id] & (1 << i))) ->
				RAISE(BIT_TOK(i)); reassert_sent(BIT_GEN(i), BIT_TOK(i))
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0;
		if
#ifdef F_SETTLED
		:: w_fly[id] == FLYING && told[id] != NEVER ->
#else
		:: w_fly[id] != IDLE && told[id] != NEVER ->
#endif
			RAISE(w_tok[id]); reassert_flying(w_gen[id], w_tok[id])
		:: else
		fi;
#if LOSS == 0 || defined(M_JOURNALDROP)
		w_sent[id] = 0; w_unknown[id] = 0;      /* mutation: told once is told for ever */
#endif
#endif
		w_left[id] = 0; told[id] = inc; told_last[id] = inc; missed[id] = false
	   }
	od
}

/* --- reaper: leases ------------------------------------------------------------------------------------------- */
proctype Reclaim()
{
end:	do
	:: atomic { OPEN && job == L && WORKERS_DEAD -> set_job(W, jgen, 0) }
	:: atomic { OPEN && job == P && WORKERS_DEAD -> r_unknown = r_unknown | BIT(jgen, jtok); job = U }
	od
}

/* --- reaper: rows against Redis --------------------------------------------------------------------------------- */
/* A job of an older generation that MySQL has answered is as good as none. */
#ifdef F_KNOWN
#define ABSENT(g) (job == NONE)
#else
#define ABSENT(g) (job == NONE || ((job == R || job == U) && jgen < (g)))
#endif
#ifdef F_PROBE
#define PROBE OPEN
#else
#define PROBE (OPEN && SAME_SERVER)
#endif

mtype = {LEAVE, TO_PENDING, TO_QUEUED, TO_UNKNOWN};

proctype Reconciler()
{
	mtype was, what;
	byte g, e;
	bool sweep;
end:	do
	:: atomic {                                     /* rows that have stood still; after a loss in doubt, all of them */
		(((row == PROCESSING || row == QUEUED) && PRODUCERS_DEAD) || doubt) && OPEN ->
		was = row; g = gen; what = LEAVE; sweep = doubt; e = (doubt -> inc : 0) }
	   atomic {                                     /* probe: unstages in the same script */
		if
		:: PROBE && (was == PROCESSING || was == QUEUED) ->
#ifndef M_NOUNSTAGE
			if
			:: job == S && jgen <= g -> set_job(NONE, 0, 0)
			:: else
			fi;
#endif
			if
#ifdef M_NOUNSTAGE
			:: ABSENT(g) || job == S ->
#else
			:: ABSENT(g) ->
#endif
				if
				:: doubt && was == QUEUED -> what = TO_UNKNOWN
#ifdef F_DOUBTVIEW
				:: doubt && was == QUEUED -> what = TO_PENDING /* it has not read the doubt yet */
#endif
				:: else -> what = TO_PENDING
				fi
			:: (job == W || job == L || job == P) && was == PROCESSING -> what = TO_QUEUED
			:: else
			fi
		:: else
		fi }
	   atomic {                                     /* compare-and-set on (status, gen) */
		if
		:: what != LEAVE && row == was && gen == g ->
			if
			:: what == TO_PENDING -> row = PENDING
			:: what == TO_QUEUED -> row = QUEUED
			:: what == TO_UNKNOWN -> row = UNKNOWN; unknowns++
			fi
		:: else
		fi;
		if
		:: sweep && inc == e && open -> doubt = false
		:: else
		fi;
		was = 0; g = 0; e = 0; what = 0; sweep = false }
	od
}

/* --- reaper: results -> row ---------------------------------------------------------------------------------------- */
mtype = {K_SENT, K_NONE, K_LATE, K_UNKNOWN};

inline not_sent()                                       /* another attempt, or the attempts are used up */
{
	if
#ifndef LIVE
	:: row = PENDING
#else
	:: gen < MAXGEN -> row = PENDING
#endif
	:: unknowns > 0 -> row = UNKNOWN
	:: unknowns == 0 -> row = FAILED
	fi
}

#define WAITS (row == PROCESSING || row == QUEUED)
#define RESOLVES (row == UNKNOWN && gen == BIT_GEN(i) && unknowns > 0)
#ifdef M_EXACTGEN
#define UNKNOWN_GEN (gen == BIT_GEN(i))
#else
#define UNKNOWN_GEN (gen >= BIT_GEN(i))
#endif
#ifdef F_APPLIED
#define WAS_APPLIED (row == PENDING && (applied & (1 << i)))
#else
#define WAS_APPLIED (applied & (1 << i))
#endif

inline settle()
{
	if
	:: k == K_SENT ->
#ifdef M_SENTGEN
		if
		:: gen == BIT_GEN(i) && (WAITS || RESOLVES) -> row = SENT /* mutation: only where it is expected */
		:: else
		fi;
#else
		if
		:: RESOLVES -> unknowns--
		:: else
		fi;
		row = SENT;
#endif
		assert(row == SENT)             /* evidence is never thrown away */
	:: k == K_UNKNOWN ->
		if
		:: (WAITS || row == PENDING) && UNKNOWN_GEN && !WAS_APPLIED -> row = UNKNOWN; unknowns++
		:: else
		fi;
		applied = applied | (1 << i)
	:: k == K_NONE || k == K_LATE ->
		if
		:: gen == BIT_GEN(i) && WAITS -> not_sent()
		:: gen == BIT_GEN(i) && k == K_LATE && RESOLVES -> unknowns--; not_sent()
		:: else
		fi;
#ifndef F_APPLIED
		applied = applied | (1 << i)
#endif
	fi
}

inline forget()
{
	if
	:: k == K_SENT ->
		r_sent = r_sent & ~(1 << i);
		if :: job == D && jgen == BIT_GEN(i) && jtok == BIT_TOK(i) -> set_job(NONE, 0, 0) :: else fi
	:: k == K_UNKNOWN ->
		r_unknown = r_unknown & ~(1 << i);
		if :: job == U && jgen == BIT_GEN(i) && jtok == BIT_TOK(i) -> set_job(NONE, 0, 0) :: else fi
	:: k == K_NONE ->
		r_none = r_none & ~(1 << i);
		if :: job == R && jgen == BIT_GEN(i) && jtok == BIT_TOK(i) -> set_job(NONE, 0, 0) :: else fi
	:: k == K_LATE ->
		r_late = r_late & ~(1 << i);
		if :: job == R && jgen == BIT_GEN(i) && jtok == BIT_TOK(i) -> set_job(NONE, 0, 0) :: else fi
	fi
}

proctype Settler()
{
	mtype k;
	byte i;
again:
end:	do
	:: atomic {                                     /* read: new ones, or those that another has left */
		OPEN && (r_sent != 0 || r_none != 0 || r_late != 0 || r_unknown != 0) ->
		if
		:: r_sent != 0 -> k = K_SENT; do :: (r_sent & (1 << i)) -> break :: (r_sent >> (i + 1)) != 0 -> i++ od
		:: r_none != 0 -> k = K_NONE; do :: (r_none & (1 << i)) -> break :: (r_none >> (i + 1)) != 0 -> i++ od
		:: r_late != 0 -> k = K_LATE; do :: (r_late & (1 << i)) -> break :: (r_late >> (i + 1)) != 0 -> i++ od
		:: r_unknown != 0 ->
			k = K_UNKNOWN; do :: (r_unknown & (1 << i)) -> break :: (r_unknown >> (i + 1)) != 0 -> i++ od
		fi }
#ifdef M_EARLYFORGET
	   atomic { if :: OPEN -> forget() :: else fi }
	   if
	   :: atomic { true -> settle(); k = 0; i = 0 }
	   :: atomic { FAULT; k = 0; i = 0 }
	   fi
#else
	   if
	   :: atomic { true -> settle() }               /* the transaction */
	   :: atomic { FAULT; k = 0; i = 0; goto again }
	   fi;
	   if
	   :: atomic { true -> if :: OPEN -> forget() :: else fi; k = 0; i = 0 }
	   :: atomic { FAULT; k = 0; i = 0 }
	   fi
#endif
	od
}

/* --- policy, expiry, audit ------------------------------------------------------------------------------------- */
#ifdef RESEND
proctype Policy()
{
end:	do
	:: atomic { row == UNKNOWN && gen < MAXGEN -> row = PENDING; resends++ }
	od
}
#endif

#ifdef SKIP
proctype Skip()                                         /* too late, or its campaign was cancelled */
{
end:	atomic { row == PENDING -> row = FAILED }
}
#endif

#ifdef M_DROPGEN
#define DROP_GEN(g) true
#else
#define DROP_GEN(g) (jgen == (g))
#endif
#define KEEPS (gen == jgen && (row == PROCESSING || row == QUEUED))

#ifdef AUDIT
proctype Audit()
{
	byte g;
end:	do
	:: atomic { OPEN && (job == S || job == W || job == L || job == P) && !KEEPS -> g = jgen } /* ids, then rows */
	   atomic {
		if
		:: OPEN && DROP_GEN(g) && (job == S || job == W) -> set_job(NONE, 0, 0)
		:: else
		fi;
		g = 0 }
	od
}
#endif

/* --- Redis loses data ---------------------------------------------------------------------------------------------- */
#if LOSS > 0
mtype o_job = NONE;
byte o_jgen = 0, o_jtok = 0, o_inc = 0;
SET o_sent = 0, o_none = 0, o_late = 0, o_unknown = 0;
bool o_open = true, kept = false;
#ifdef F_TOKEN
byte o_tok = 0;
#endif
#ifdef F_DOUBTLOST
bool o_doubt = false;
#endif

/* The moment that Redis will come back to is chosen once before each loss. */
proctype Redis()
{
end:	do
	:: atomic {
		losses < LOSS && !kept && SAME_SERVER ->
		kept = true;
		o_job = job; o_jgen = jgen; o_jtok = jtok; o_inc = inc; o_open = open;
		o_sent = r_sent; o_none = r_none; o_late = r_late; o_unknown = r_unknown;
#ifdef F_TOKEN
		o_tok = tok;
#endif
#ifdef F_DOUBTLOST
		o_doubt = doubt
#endif
		}
	:: atomic {
		kept ->
		losses++; life++; kept = false;
		job = o_job; jgen = o_jgen; jtok = o_jtok; inc = o_inc; open = o_open;
		r_sent = o_sent; r_none = o_none; r_late = o_late; r_unknown = o_unknown;
		o_job = NONE; o_jgen = 0; o_jtok = 0; o_inc = 0; o_open = true;
		o_sent = 0; o_none = 0; o_late = 0; o_unknown = 0;
#ifdef F_TOKEN
		tok = o_tok; o_tok = 0;
#endif
#ifdef F_DOUBTLOST
		doubt = o_doubt; o_doubt = false
#endif
		}
	:: atomic { !SAME_SERVER ->                     /* begin: the first who looks */
		inc = life; open = false;
#ifdef F_DOUBTLOST
		doubt = false
#endif
		}
	od
}

#if NW == 1
#define REPORTED (told[0] == inc || missed[0])
#else
#define REPORTED ((told[0] == inc || missed[0]) && (told[1] == inc || missed[1]))
#endif

/* What is still leased or permitted is dropped only while nobody can be served. */
#ifdef F_DROPOPEN
#define DROP_OPEN true
#else
#define DROP_OPEN (!open)
#endif

proctype Recovery()
{
	byte e, g;
	bool in_doubt, final;
	mtype was;
end:	do
	:: atomic {                                     /* all have reported, or the grace is over; ids, then rows */
		SAME_SERVER && !open ->
		e = inc;
		if
		:: REPORTED -> in_doubt = doubt
#ifndef NOGRACE
		:: !REPORTED -> in_doubt = true
#endif
		fi;
		was = job; g = jgen; final = !KEEPS }
	   atomic {                                     /* drop, for this very incarnation */
		if
		:: inc == e && DROP_OPEN && (was == S || was == W || was == L || was == P) && DROP_GEN(g) &&
		   (job == S || job == W || job == L || job == P) ->
			if
			:: final -> set_job(NONE, 0, 0)
			:: !final && in_doubt && was != P && job == S -> set_job(NONE, 0, 0)
#ifndef M_NODOUBT
			:: !final && in_doubt && was != P && job != S ->
				set_job(U, jgen, 0); r_unknown = r_unknown | BIT(jgen, 0)
#endif
			:: else
			fi
		:: else
		fi }
	   atomic {                                     /* open, if this incarnation is the one that was checked */
		if
#ifdef M_OPENANY
		:: !open ->
#else
		:: !open && inc == e ->
#endif
			open = true;
#ifndef M_NODOUBT
			doubt = in_doubt;
#endif
			if :: in_doubt && told[0] != inc -> missed[0] = true :: else fi;
#if NW > 1
			if :: in_doubt && told[1] != inc -> missed[1] = true :: else fi
#endif
		:: else
		fi;
		e = 0; g = 0; in_doubt = false; final = false; was = 0 }
	od
}
#endif

#ifdef LIVE
bit tick;                                               /* no run ends: what is stuck is a cycle that spin sees */
proctype Tick() { do :: tick = !tick od }
#endif

init {
	atomic {
		byte n = 0;
#ifdef LIVE
		run Tick();
#endif
		do :: n < NP -> run Producer(n); n++ :: else -> break od;
		n = 0;
		do :: n < NW -> run Worker(n); run Teller(n); n++ :: else -> break od;
		n = 0;
		do :: n < NS -> run Settler(); n++ :: else -> break od;
		n = 0;
#ifndef M_NORECONCILE
		run Reconciler();
#endif
#ifndef M_NORECLAIM
		run Reclaim();
#endif
#ifdef RESEND
		run Policy();
#endif
#ifdef SKIP
		run Skip();
#endif
#ifdef AUDIT
		run Audit();
#endif
#if LOSS > 0
		run Redis(); run Recovery(); run Recovery()
#endif
	}
}

#ifdef LIVE
/* Whatever died, the row ends, and never as "failed" when it was sent. */
ltl ends { <>[] (row == SENT || row == UNKNOWN || (row == FAILED && sends == 0)) }
#endif
