#!/bin/sh
# Runs in the guest: Linux's own tools against the guest's PMU.  Arguments: groups of checks (default: all of GROUPS).
# TESTS=N,N...: of `perf test` only these.
# A line for each check: "ok NAME", "bad NAME: why" or "left NAME: why" (the tool is not in this image); "# TEXT" tells more.
# Nothing here takes a number for granted that perf could print of a counter that stands still.
GROUPS_ALL="boot stat ring topdown metrics events record branch precise mem annotate top watchdog freq rr selftest"
cd /tmp || exit 1
bad=0
ok() { echo "ok $1"; }
bad() { bad=$((bad + 1)); echo "bad $1: $2"; [ -e out ] && head -n 12 out | sed 's/^/# /'; }
left() { echo "left $1: $2"; }
has() { command -v "$1" > /dev/null; }
# check NAME CONDITION...: a command that must succeed
check() { n=$1; shift; if "$@"; then ok "$n"; else bad "$n" "not so: $*"; fi; }
# real A OP B: numbers with fractions
real() { awk -v a="$1" -v b="$3" "BEGIN { exit !(a $2 b) }"; }
# count EVENT COMMAND...: what perf stat counts; empty when it is not counted
count() { e=$1; shift; perf stat -x\; -e "$e" "$@" 2> out > /dev/null; sed -n 's/^\([0-9][0-9]*\);.*/\1/p' out | head -n 1; }
# all_counted NAME: every line of `perf stat -x\;` in out has a number and was counted all the time
all_counted() {
	awk -F\; 'NF > 4 { n++; if ($1 !~ /^[0-9.]+$/ || $5 + 0 < 1) bad = bad " " $3 } END { if (!n) bad = "nothing"; print bad; exit bad != "" }' out > why \
		&& ok "$1" || bad "$1" "not counted:$(cat why)"
}
spin='i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); done'
# samples FILE: how many there are
samples() { perf report -i "$1" --stats 2> err | awk '/SAMPLE events:/ { n = $3; exit } END { print n + 0 }'; }

do_boot() {
	uname -r; perf version
	for text in 'Performance Events: .*Sapphire Rapids events.*full-width counters, Intel PMU driver' 'version: *5' \
		'bit width: *48' 'generic \(registers\|counters\|bitmap\): *\(8\|0*ff\)' 'fixed-purpose \(events\|counters\|bitmap\): *\(4\|0*f\)'; do
		check "dmesg $text" sh -c "dmesg | grep -q '$text'"
	done
	for text in 'unchecked MSR' 'PMU not available' 'perf: interrupt took too long' 'Dazed and confused' 'Uhhuh'; do
		check "dmesg lacks $text" sh -c "! dmesg | grep -q '$text'"
	done
}
do_stat() {
	for options in '' -d '-d -d' '-d -d -d'; do perf stat -x\; $options true 2> out; grep '<not supported>' out > un
		# prefetches: the real core has no such event either; dtlb/itlb references of some kinds likewise
		grep -vE 'prefetch|iTLB-loads|L1-icache-loads|stalled-cycles|node-|LLC-store' un > miss
		if [ -s miss ]; then bad "perf stat $options" "$(cut -d\; -f3 miss | tr '\n' ' ')"; else ok "perf stat $options true"; fi
	done
	perf stat -r 3 -e instructions:u true 2> out; check "perf stat -r 3" grep -q '3 runs' out
	perf stat -I 2 -x\; -e instructions -- sh -c "$spin" 2> out > /dev/null
	check "perf stat -I" [ "$(grep -c ';instructions;' out)" -ge 1 ]
	perf stat -a -A -x\; -e instructions true 2> out; check "perf stat -a -A: a line for each processor" [ "$(grep -c ';instructions;' out)" = "$(nproc)" ]
	# twelve counters: nothing waits for its turn, the watchdog aside (which takes one)
	echo 0 > /proc/sys/kernel/nmi_watchdog
	perf stat -x\; -e '{instructions,cycles,ref-cycles,slots}' -e '{r11c4,r01c4,r02c4,r20c4,r40c4,r80c4,r10c4,r08c4}' true 2> out
	awk -F\; 'NF > 4 && $5 < 100 { bad = 1 } END { exit bad }' out && ok "12 counters at once, none waits" || bad "12 counters at once" "multiplexed"
	echo 1 > /proc/sys/kernel/nmi_watchdog
}
do_ring() {
	a=$(count instructions:u true); b=$(count instructions:u true); c=$(count instructions:k true)
	check "instructions:u of true are counted" [ "${a:-0}" -gt 10000 ]
	check "instructions:u are the same twice: $a $b" [ "$a" = "$b" ]
	check "instructions:k are counted" [ "${c:-0}" -gt 100000 ]
	perf stat -x\; -e '{instructions:u,instructions:k,instructions}' true 2> out
	set -- $(cut -d\; -f1 out); check "user and kernel make all: $1 + $2 = $3" [ $(($1 + $2)) = "$3" ]
	perf stat -x\; -e '{r00c4:u,r11c4:u,r80c4:u,r02c4:u,r08c4:u}' true 2> out
	all_counted "kinds of branches"
}
do_topdown() {
	perf stat --topdown -- sh -c "$spin" 2> out > /dev/null; sed 's/^/# /' out
	sum=$(awk '{ n = s = 0; for (i = 1; i <= NF && n < 4; i++) { v = $i; sub("%", "", v); if (v ~ /^[0-9]+\.[0-9]+$/) { s += v; n++ } } if (n == 4) { printf "%.1f", s; exit } }' out)
	if real "${sum:-0}" '>' 99 && real "$sum" '<' 101; then ok "--topdown: the four sum to $sum %"; else bad "--topdown" "the four sum to $sum %"; fi
	for level in TopdownL1 TopdownL2; do
		# Level 2 is several groups, which take turns of 4 ms: the program must outlast them all.
		perf stat -M $level -- sh -c "$spin; $spin; $spin; $spin" 2> out > /dev/null
		# the four fractions of level 1, and each pair of level 2 beneath its parent
		sum=$(awk '/tma_/ { for (i = 2; i <= NF; i++) if ($i ~ /^tma_/) { v = $(i - 1) == "%" ? $(i - 2) : $(i - 1); sub("%", "", v); f[$i] = v } }
			END { printf "%.1f", '"$(case $level in
			TopdownL1) echo 'f["tma_retiring"] + f["tma_bad_speculation"] + f["tma_frontend_bound"] + f["tma_backend_bound"]' ;;
			*) echo 'f["tma_light_operations"] + f["tma_heavy_operations"] + f["tma_branch_mispredicts"] + f["tma_machine_clears"] + f["tma_fetch_latency"] + f["tma_fetch_bandwidth"] + f["tma_memory_bound"] + f["tma_core_bound"]' ;; esac)"' }' out)
		if real "$sum" '>' 99 && real "$sum" '<' 101; then ok "-M $level sums to $sum %"; else bad "-M $level" "sums to $sum %"; fi
	done
	perf stat -x\; -e '{slots,topdown-retiring,topdown-bad-spec,topdown-fe-bound,topdown-be-bound}' -- sh -c "$spin" 2> out > /dev/null
	set -- $(awk -F\; 'NF > 4 { print $1 }' out)
	check "slots $1 are the four metrics' $2 + $3 + $4 + $5" awk "BEGIN { d = ($2 + $3 + $4 + $5) / $1; exit !(d > 0.99 && d < 1.01) }"
}
do_events() {
	folder=/sys/bus/event_source/devices/cpu/events
	for e in $(ls $folder | grep -v '\.'); do
		case $e in topdown-*) g="{slots,$e}" ;; mem-loads) g="{cpu/mem-loads-aux/,cpu/mem-loads/}" ;; *) g="cpu/$e/" ;; esac
		perf stat -x\; -e "$g" true 2> out; all_counted "-e cpu/$e/"
	done
	for g in cpu/event=0xc4,umask=0x11/u cpu/event=0xc0,cmask=1,inv=1/ cpu/event=0x3c,edge=1,cmask=1/ r1c2 cpu/config=0xc4/k; do
		perf stat -x\; -e "$g" true 2> out
		case $g in *edge*) awk -F\; 'NF > 4 { exit !($1 ~ /^[0-9]+$/) }' out && ok "-e $g" || bad "-e $g" "refused" ;; *) all_counted "-e $g" ;; esac
	done
	names=$(perf list --raw-dump hw cache 2> err | tr ' ' '\n' | grep -vE 'prefetch|stalled|node|LLC-store-misses|iTLB-loads$|L1-icache-loads$|branch-load|LLC-stores$|^$' | sort -u)
	for e in $names; do perf stat -x\; -e "$e" true 2> out; all_counted "-e $e"; done
}
do_record() {
	# The kernel throttles beyond kernel.perf_event_max_sample_rate (100000 a second): a period of 10007 at 2.2 GHz would be
	# over it, and lowers that rate when interrupts take long.
	echo 0 > /proc/sys/kernel/perf_cpu_time_max_percent
	perf record -q -o a.data -e instructions:u -c 50021 -- sh -c "$spin" > out 2>&1
	n=$(samples a.data); all=$(count instructions:u sh -c "$spin")
	check "record -c 50021: $n samples of $all instructions" [ $((all / 50021 - n)) -le 3 -a $((n - all / 50021)) -le 3 -a "$n" -gt 5 ]
	perf record -q -o b.data -F 4000 -- sh -c "$spin" > out 2>&1; check "record -F: $(samples b.data) samples" [ "$(samples b.data)" -ge 3 ]
	perf record -q -g -o c.data -c 20011 -e instructions:k -- sh -c "$spin; ls /proc" > out 2>&1
	perf report -i c.data --stdio --no-children -G 2> err > out
	check "record -g: kernel call chains with symbols" grep -qE 'do_syscall_64|asm_exc_page_fault|handle_mm_fault' out
	perf report -i a.data --stdio --sort dso,symbol 2> err > out; check "report" grep -q '%' out
	# perf stat -e is scaled by nothing: the periods of all samples make the count, but for the last, unfinished one
	sum=$(perf script -i a.data -F period 2> err | awk '{ s += $1 } END { print s }')
	check "periods sum to $sum" [ "${sum:-0}" -gt $((all - 200000)) ]
}
do_branch() {
	perf record -q -B -b -o d.data -c 20011 -e cycles:u -- sh -c "$spin" > out 2>&1
	perf script -i d.data -F brstack 2> err | head -n 400 > out
	check "record -b: 32 branches a sample" awk '{ if (NF > m) m = NF } END { exit m != 32 }' out
	check "record -b: from and to" grep -qE '0x[0-9a-f]+/0x[0-9a-f]+/[PM]' out
	perf record -q -B -j any_call,u -o d.data -c 20011 -e cycles:u -- sh -c "$spin" > out 2>&1; check "record -j any_call,u" [ "$(samples d.data)" -gt 1 ]
	perf record -q -B --call-graph lbr -o e.data -c 20011 -e cycles:u -- sh -c "$spin" > out 2>&1
	perf script -i e.data -F ip,sym 2> err > out; check "record --call-graph lbr: chains" awk '/^$/ { n = 0; next } { if (++n > m) m = n } END { exit m < 3 }' out
}
do_precise() {
	for p in p pp ppp; do for e in instructions cycles branches; do
		perf record -q -B -e $e:$p -c 10007 -o f.data -- sh -c "$spin" > out 2>&1; n=$(samples f.data)
		check "record -e $e:$p: $n samples" [ "$n" -gt 5 ]
	done; done
	# every retired conditional branch of a period: the address of each is that of a branch, which is what PEBS is for
	perf record -q -B -e r11c4:upp -c 1009 -o f.data -- sh -c "$spin" > out 2>&1; check "record -e r11c4:upp: $(samples f.data)" [ "$(samples f.data)" -gt 5 ]
}
do_mem() {
	perf mem record -q -o g.data -- sh -c "$spin" > out 2>&1 || perf mem record -o g.data -- sh -c "$spin" > out 2>&1
	perf mem report -i g.data --stdio 2> err > out; check "perf mem report: loads with levels" grep -qE 'L1|L2|L3|LFB|RAM' out
	perf script -i g.data -F addr,event 2> err > out; check "perf mem: addresses" grep -qE '[1-9a-f][0-9a-f]{7,}' out
	perf mem -t load record -q -o g.data -- sh -c "$spin" > out 2>&1 || perf mem -t load record -o g.data -- sh -c "$spin" > out 2>&1
	check "perf mem -t load: $(samples g.data)" [ "$(samples g.data)" -ge 1 ]
	perf mem -t store record -q -o g.data -- sh -c "$spin" > out 2>&1 || perf mem -t store record -o g.data -- sh -c "$spin" > out 2>&1
	check "perf mem -t store: $(samples g.data)" [ "$(samples g.data)" -ge 1 ]
}
do_annotate() {
	has objdump || { left "perf annotate" "no objdump"; return; }
	# A program with symbols: Debian's have none of their own.
	if has gcc; then echo 'int main(void) { volatile long i; for (i = 0; i < 500000; i++); return 0; }' | gcc -g -x c - -o loop || return; set -- ./loop main
	else set -- perf; fi
	perf record -q -o h.data -c 20011 -e instructions:u -- "$1" > out 2>&1
	perf annotate -i h.data --stdio ${2-} 2> err > out; cat err >> out
	check "perf annotate ${2-}" grep -qE '^ +[0-9]+\.[0-9]+ ' out
}
do_top() {
	( while :; do sh -c 'i=0; while [ $i -lt 300 ]; do i=$((i + 1)); done'; sleep 0.05; done ) & job=$!
	# From an input that ends it reads keys without end.
	sleep 5 | timeout -s INT 3 perf top --stdio -d 1 2> err | tr -d '\033' > out; kill $job
	check "perf top" grep -qE '[0-9]+\.[0-9]+%' out
}
do_watchdog() {
	echo 0 > /proc/sys/kernel/nmi_watchdog; sleep 0.1; echo 1 > /proc/sys/kernel/nmi_watchdog
	check "the NMI watchdog is on" [ "$(cat /proc/sys/kernel/nmi_watchdog)" = 1 ]
	echo 1 > /proc/sys/kernel/watchdog_thresh
	a=$(awk '/^ *NMI:/ { print $2 }' /proc/interrupts)
	timeout 1.6 sh -c 'while :; do :; done'
	b=$(awk '/^ *NMI:/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) s += $i; print s }' /proc/interrupts)
	check "its NMIs come while the processor works: $a, then $b" [ "$b" -gt "$a" ]
	check "and find no lockup" sh -c "! dmesg | grep -qiE 'hard lockup|soft lockup'"
	echo 10 > /proc/sys/kernel/watchdog_thresh
}
do_freq() {
	grep -H 'cpu MHz' /proc/cpuinfo | sed 's/^/# /'
	mhz=${MHZ:-2200}
	check "/proc/cpuinfo MHz" awk -v m="$mhz" '/^cpu MHz/ { n++; d = $4 - m; if (d < -1 || d > 1) bad = 1 } END { exit bad || !n }' /proc/cpuinfo
	if has turbostat; then
		modprobe msr 2> err
		turbostat --quiet --show Core,CPU,Avg_MHz,Busy%,Bzy_MHz,TSC_MHz --interval 1 --num_iterations 1 > out 2>&1; sed 's/^/# /' out
		check "turbostat: Bzy_MHz $mhz, TSC_MHz 2200" awk -v m="$mhz" '/Bzy_MHz/ { for (i = 1; i <= NF; i++) c[$i] = i; next }
			c["Bzy_MHz"] && NF >= 4 { n++; b = $c["Bzy_MHz"] - m; t = $c["TSC_MHz"] - 2200; if (b * b > m * m / 1e4 || t * t > 500) bad = 1 } END { exit bad || !n }' out
		turbostat --Summary sleep 1 > out 2>&1; s=$?
		check "turbostat --Summary sleep 1: status $s" sh -c "[ $s = 0 ] && grep -q Bzy_MHz out && ! grep -qiE 'msr.*(failed|error)|cannot|not permitted' out"
		sed 's/^/# /' out
		timeout 1 sh -c 'while :; do :; done' & turbostat --quiet --show Busy%,Bzy_MHz --interval 1 --num_iterations 1 > busy 2>&1
		sed 's/^/# busy /' busy
	else left turbostat "not in this image"; fi
	if has cpupower; then cpupower frequency-info > out 2>&1; sed 's/^/# /' out; cpupower monitor > out 2>&1; sed 's/^/# /' out
		check "cpupower runs" grep -qi cpu out
	else left cpupower "not in this image"; fi
}
do_metrics() {
	# Some metrics want more counters at once than the NMI watchdog leaves.
	echo 0 > /proc/sys/kernel/nmi_watchdog
	n=0 foreign=0 nan=0 wrong=
	# A line of an event, but for those of the default: slots and topdown-…
	own='^ +([0-9,]+|<[a-z ]+>) +[A-Za-z0-9_]+[._/]'
	case $(perf version) in 'perf version 6.1.'*) old=1 ;; *) old= ;; esac
	for m in $(perf list --raw-dump metrics 2> err); do
		n=$((n + 1))
		# Its slots do not lead the group of its topdown events, which any kernel refuses (intel_pmu_hw_config).
		if [ "$old" ] && [ "$m" = Retire ]; then echo "# refused: $m"; continue; fi
		perf stat -M "$m" -a -- sleep 0.01 > out 2>&1
		short=$(echo "$m" | cut -c1-50)
		# Those of memory, links, I/O and packages have PMUs of their own, which are not there. perf 6.1 measures its default instead.
		if grep -q 'event syntax error' out && grep -qE 'UNC_|uncore_|cstate_' out; then foreign=$((foreign + 1)); continue; fi
		if [ "$old" ] && ! grep -qF "$short" out && ! grep -qE "$own" out; then foreign=$((foreign + 1)); echo "# of another PMU: $m"; continue; fi
		# With dozens of events to take turns each needs a while.
		grep -q 'not counted' out && perf stat -M "$m" -a -- timeout 1 sh -c 'while :; do :; done' > out 2>&1
		if grep -qE 'not counted|not supported|syntax error' out; then wrong="$wrong $m"; sed "s/^/# $m: /" out
		elif grep -F "$short" out > shown; then grep -q ' nan ' shown && nan=$((nan + 1)) && echo "# nan: $m"
		# Where it divides by zero perf 6.1 shows the events alone.
		elif [ "$old" ] && grep -qE "$own" out; then nan=$((nan + 1)); echo "# nan: $m"
		else wrong="$wrong $m"; sed "s/^/# $m: /" out; fi
	done
	echo 1 > /proc/sys/kernel/nmi_watchdog
	[ "$n" -gt 100 ] || wrong="$wrong (too few)"
	check "perf stat -M: $n metrics, $foreign of other PMUs, $nan divide by zero; without a count:${wrong:- none}" [ -z "$wrong" ]
}
do_rr() {
	has rr || { left rr "not in this image"; return; }
	export _RR_TRACE_DIR=/tmp/rr; export HOME=/root; ulimit -c 0
	# Debian 12's rr is older than this processor; the core before it has the same event for conditional branches.
	rr record -n true > said 2> out || { grep -q 'CPU type 0x806f0 unknown' out && rr() { command rr --microarch 'Intel Icelake' "$@"; }; }
	rr record -n sh -c 'i=0; while [ $i -lt 300 ]; do i=$((i + 1)); done; echo recorded $i; date +%N' > said 2> out || { bad "rr record" "status $?"; return; }
	ok "rr record"
	rr replay -a > again 2> out; check "rr replay" cmp -s said again
	rr record --chaos -n sh -c 'for i in 1 2 3; do ( echo $i; sleep 0.01 ) & done; wait' > said 2> out && rr replay -a > again 2> out
	check "rr record --chaos, then replay" cmp -s said again
}
do_selftest() {
	# One test may not lower the rate that the next one asks for.
	echo 0 > /proc/sys/kernel/perf_cpu_time_max_percent
	# No file here may be called tests: perf would look into it for its own.
	perf test list 2>&1 | awk -F: '/^ *[0-9]+: / { n = $1 + 0; if (n != last) { sub(/^ *[0-9]+: */, ""); print n, $0 } last = n }' > all
	# The long ones, which are the last, first. Without "all metrics": where a metric is to be measured again that test runs
	# `perf test -w noploop 0.1`, which takes whole seconds, and with none never ends (6.12); the group `metrics` does the same.
	grep -v 'all metrics' all | sort -rn > order
	while read -r n name; do
		case ,${TESTS:-$n}, in *,$n,*) ;; *) continue ;; esac
		a=$(cut -d' ' -f1 /proc/uptime); timeout 200 perf test "$n" > log 2>&1 < /dev/null; s=$?
		b=$(awk "{ printf \"%.1f\", \$1 - $a }" /proc/uptime)
		grep -E "^ *$n[.:]" log | sed "s/^/# $b s: /"
		[ $s != 124 ] || bad "perf test $n" "$name: not ended in 200 s"
		if grep -q FAILED log; then bad "perf test $n" "$name"
			timeout 200 perf test -v "$n" > log 2>&1 < /dev/null
			tail -n 250 log | cut -c1-200 | sed 's/^/#     /'
		fi
	done < order
	ok "perf test ran $(wc -l < order) tests"
}
for g in ${*:-$GROUPS_ALL}; do echo "== $g $(cut -d' ' -f1 /proc/uptime)"; rm -f out; "do_$g"; done
echo "== $bad bad"
exit $((bad > 0))
