#!/usr/bin/env python3
"""Plants the mistakes of list/*.txt one at a time and says which test notices. See README.md."""
import argparse
import fnmatch
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SKIPPED = 77  # a test's exit status, as meson has it
LONG_TEST = 25
OWN_TEST = 'mutants list'  # would fail for every mistake

# Tests that know most of a file, by how its path begins: they run after those that a mistake names.
# The longest beginning that fits is taken.
NEAREST = {
    'ir/base/': ['base', 'size', 'plan', 'data', 'cli compile', 'golden_errors'],
    'ir/size': ['size', 'premise', 'golden_ir', 'random_graph', 'op_shapes'],
    'ir/': ['ir', 'verify', 'op_values', 'op_shapes', 'gradients', 'differentiate', 'golden_ir', 'random_graph'],
    'ir/ops/': ['op_values', 'op_shapes', 'gradients', 'differentiate', 'verify', 'random_graph'],
    'frontend/': ['language_rules', 'golden_errors', 'golden_diag', 'golden_ir', 'golden_ast', 'parse', 'elaborate', 'std'],
    'passes/': ['golden_passes', 'ir_cases', 'fuse', 'precision', 'remat', 'accumulate', 'training', 'differentiate', 'random_passes',
                'random_graph', 'attention', 'faults training', 'faults gradients', 'random graphs'],
    'codegen/': ['cpu_backend', 'plan', 'groups', 'schedule', 'schedule_rules', 'ir_cases', 'cudasim ir cases', 'training', 'random graphs', 'faults training'],
    'codegen/lower/': ['ir_cases', 'kernels', 'lower_blocks', 'attention', 'product', 'groups', 'cpu_backend', 'cudasim ir cases', 'random graphs'],
    'codegen/cpu/': ['scalar rows', 'cpu_backend', 'vecmath', 'product', 'kernels', 'random graphs', 'random casts'],
    'codegen/cuda/': ['cudasim scalar rows', 'cudasim machines', 'cudasim ir cases', 'cuda_text', 'cuda tiles', 'cuda image', 'cudasim tf_example', 'cudasim random graphs',
                      'cudasim random casts'],
    'runtime/': ['plan', 'plan_lies', 'api', 'training', 'training_rules', 'run_rules', 'schedule_rules', 'device far', 'device cpu', 'faults training', 'faults weights',
                 'faults checkpoints', 'faults files', 'threads'],
    'runtime/comm/': ['comm local', 'comm memory', 'comm tcp', 'comm sockets', 'comm meet'],
    'runtime/comm/mpi/': ['comm openmpi', 'comm mpich'],
    'runtime/cpu/': ['pool', 'device cpu', 'threads', 'api', 'training'],
    'runtime/cuda/': ['cuda_device', 'cuda conv', 'calls', 'cudasim tf_example', 'cuda run'],
    'runtime/data/': ['data', 'dataset', 'faults data', 'cli data', 'faults training'],
    'lang/std/': ['std schedules', 'std training', 'std, tensors of one shape', 'std'],
    'tools/': ['command line', 'cli compile', 'cli device', 'cli data', 'faults files', 'faults training'],
}


class Problem(Exception):
    pass


@dataclass
class Mutant:
    name: str
    file: str = ''
    says: str = ''  # what the mistake is
    tests: list = field(default_factory=list)
    old: str = ''
    new: str = ''
    place: str = ''  # list file and line

    def key(self):
        return hashlib.sha256('\0'.join((self.old, self.new)).encode()).hexdigest()[:16]

    def list_name(self):
        return self.place.partition('.')[0]

    def planted(self, text):
        count = text.count(self.old)
        if count != 1:
            raise Problem(f'{self.place}: {self.name}: its old text stands {count} times in {self.file}')
        return text.replace(self.old, self.new)


def read_list(path):
    """The mistakes of one list; README.md describes the form."""
    mutants, mutant, old, new = [], None, [], []

    def finish():
        if mutant:
            mutant.old, mutant.new = '\n'.join(old), '\n'.join(new)
            mutants.append(mutant)

    for number, line in enumerate(path.read_text().splitlines(), 1):
        place = f'{path.name}:{number}'
        mark, rest = line[:2], line[2:]
        if not line.strip() or line.startswith('#'):
            continue
        if mark == '@ ':
            finish()
            name, _, where = rest.partition(' in ')
            mutant, old, new = Mutant(name.strip(), where.strip(), place=place), [], []
        elif not mutant:
            raise Problem(f'{place}: a line before the first "@ NAME in FILE"')
        elif line.startswith('says: '):
            mutant.says = line[6:].strip()
        elif line.startswith('tests: '):
            mutant.tests = [name.strip() for name in line[7:].split(';')]
        elif mark in ('- ', '-'):
            old.append(rest)
        elif mark in ('+ ', '+'):
            new.append(rest)
        else:
            raise Problem(f'{place}: neither @, says:, tests:, - nor +')
    finish()
    return mutants


def read_lists():
    mutants, seen = [], {}
    for path in sorted((HERE / 'list').glob('*.txt')):
        for mutant in read_list(path):
            if mutant.name in seen:
                raise Problem(f'{mutant.place}: {mutant.name} stands at {seen[mutant.name]} already')
            seen[mutant.name] = mutant.place
            mutants.append(mutant)
    return mutants


def check(mutants, root):
    """Each mistake can be planted: what the quick suite asks."""
    wrong = []
    for mutant in mutants:
        try:
            if not mutant.says:
                raise Problem(f'{mutant.place}: {mutant.name}: no says:')
            if mutant.old == mutant.new or not mutant.old:
                raise Problem(f'{mutant.place}: {mutant.name}: nothing is changed')
            path = root / mutant.file
            if not path.is_file():
                raise Problem(f'{mutant.place}: {mutant.name}: no file {mutant.file}')
            mutant.planted(path.read_text())
        except Problem as problem:
            wrong.append(str(problem))
    return wrong


def nearest(file):
    fitting = [start for start in NEAREST if file.startswith(start)]
    return NEAREST[max(fitting, key=len)] if fitting else []


def copy_tree(source, target):
    """A copy of what git would see; files that are equal keep their times, so that little is rebuilt."""
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '-z'], cwd=source,
                            check=True, capture_output=True).stdout.decode().split('\0')
    wanted = {name for name in listed if name and (source / name).is_file()}
    record = target.parent / 'copied.json'
    before = set(json.loads(record.read_text())) if record.exists() else set()
    for name in before - wanted:
        (target / name).unlink(missing_ok=True)
    for name in wanted:
        here, there = source / name, target / name
        if there.is_file() and there.read_bytes() == here.read_bytes():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(here, there)
        shutil.copymode(here, there)
    record.write_text(json.dumps(sorted(wanted)))


class Stopped(Exception):
    pass


class Job:
    """One copy of the tree with its build folder, where one mistake at a time stands."""

    def __init__(self, folder, root, say):
        self.tree, self.build, self.say = folder / 'tree', folder / 'tree' / 'build', say
        self.tree.mkdir(parents=True, exist_ok=True)
        self.child = None
        self.stopped = False
        copy_tree(root, self.tree)
        if not (self.build / 'build.ninja').exists():
            environment = dict(os.environ)
            if shutil.which('mold'):
                environment.setdefault('CC_LD', 'mold')
            self.must(['meson', 'setup', str(self.build), str(self.tree), '--buildtype=debugoptimized'], env=environment)
        self.must(['ninja', '-C', str(self.build), '-j1'])
        targets = {t['id']: t for t in self.introspect('--targets')}
        files = {name: t['id'] for t in targets.values() for name in t['filename']}
        self.tests = {}
        for test in self.introspect('--tests'):
            needed = set(test['depends']) | {files[word] for word in test['cmd'] if word in files}
            test['outputs'] = sorted({os.path.relpath(name, self.build)
                                      for one in needed for name in targets[one]['filename']})
            test['suite'] = {suite.rpartition(':')[2] for suite in test['suite']}
            self.tests[test['name']] = test
        self.products = [os.path.relpath(name, self.build) for t in targets.values() for name in t['filename']
                         if t['type'] in ('shared library', 'executable') and
                         (t['name'] in ('dlc', 'dlc-compile', 'dlrun'))]

    def introspect(self, what):
        return json.loads(self.must(['meson', 'introspect', what, str(self.build)]))

    def run(self, command, timeout=None, **more):
        """Exit status (None: out of time) and output; its whole process group ends with it."""
        if self.stopped:
            raise Stopped
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      stdin=subprocess.DEVNULL, start_new_session=True, **more)
        status = None
        try:
            output, _ = self.child.communicate(timeout=timeout)
            status = self.child.returncode
        except subprocess.TimeoutExpired:
            self.kill()
            output, _ = self.child.communicate()
        finally:
            self.kill()
        if self.stopped:
            raise Stopped
        return status, output.decode(errors='replace')

    def kill(self):
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except (ProcessLookupError, AttributeError):
            pass

    def must(self, command, **more):
        status, output = self.run(command, **more)
        if status != 0:
            raise Problem(f'{" ".join(command)} failed:\n{output[-3000:]}')
        return output

    def ninja(self, outputs):
        status, output = self.run(['ninja', '-C', str(self.build), '-j1'] + outputs)
        return status == 0, output

    def test(self, name, limit):
        test = self.tests[name]
        environment = {**os.environ, **test['env']}
        status, output = self.run(test['cmd'], timeout=limit, cwd=test['workdir'] or self.build, env=environment)
        return status, output


class Report:
    """What is known of each mistake, written after each."""

    def __init__(self, folder, resume):
        self.path, self.lock = folder / 'results.json', threading.Lock()
        self.folder = folder
        self.known = json.loads(self.path.read_text()) if self.path.exists() else {}
        if not resume:
            for entry in self.known.values():
                entry['old'] = True
        times = folder / 'seconds.json'
        self.times = times
        self.seconds = json.loads(times.read_text()) if times.exists() else {}

    def of(self, mutant):
        entry = self.known.get(mutant.name)
        return entry if entry and entry['key'] == mutant.key() and not entry.get('old') else None

    def put(self, mutant, **what):
        with self.lock:
            self.known[mutant.name] = {'key': mutant.key(), 'file': mutant.file, **what}
            self.path.write_text(json.dumps(self.known, indent=1, sort_keys=True))

    def took(self, test, seconds):
        with self.lock:
            self.seconds[test] = seconds
            self.times.write_text(json.dumps(self.seconds, indent=1, sort_keys=True))

    def write(self, mutants):
        lines, count = [], {'killed': 0, 'survived': 0, 'not compiled': 0}
        for mutant in mutants:
            entry = self.of(mutant)
            state = entry['state'] if entry else 'not run'
            count[state] = count.get(state, 0) + 1
            by = f' by {entry["by"]}' if entry and entry.get('by') else ''
            lines.append(f'{state:12} {mutant.name:36} {mutant.file}{by}')
            if state == 'survived':
                lines.append(f'{"":12} {mutant.says}  ({entry["ran"]} tests)')
        counted = count['killed'] + count['survived']
        share = 100 * count['killed'] / counted if counted else 0
        lines.append(f'{counted} mistakes, {count["killed"]} noticed ({share:.1f} %), {count["survived"]} not; '
                     f'{count["not compiled"]} do not compile; {count.get("not run", 0)} not run')
        text = '\n'.join(lines) + '\n'
        (self.folder / 'report.txt').write_text(text)
        return text, share


class Runner:
    def __init__(self, options, report):
        self.options, self.report = options, report
        self.sound, self.broken = set(), set()  # tests seen to pass, and seen to fail, on the tree as it is
        self.lock = threading.Lock()

    def say(self, text):
        with self.lock:
            print(time.strftime('%H:%M:%S'), text, flush=True)

    def order(self, job, mutant):
        """The names of the tests to run, the likeliest first, then the fastest; and how many are likely."""
        wanted = self.options.tests
        suites = {'quick': {'quick'}, 'full': {'quick', 'full'}, 'near': set(), 'short': set()}.get(wanted)
        is_long = lambda n: self.report.seconds.get(n, 5) > LONG_TEST
        likely = dict.fromkeys(n for n in sorted(mutant.tests + nearest(mutant.file), key=is_long)
                               if n in job.tests and not (wanted == 'short' and is_long(n)))
        if suites is None:
            names = [n for p in wanted.split(';') for n in job.tests if fnmatch.fnmatch(n, p.strip())]
            likely = {n: None for n in likely if n in names}
        else:
            names = [n for n, t in job.tests.items() if t['suite'] & suites]
        slow = lambda n: ('quick' not in job.tests[n]['suite'], self.report.seconds.get(n, 5))
        rest = sorted((n for n in names if n not in likely and n != OWN_TEST), key=slow)
        return [n for n in list(likely) + rest if n not in self.broken], len(likely)

    def limit(self, job, name):
        usual = self.report.seconds.get(name)
        return min(job.tests[name]['timeout'], 20 + 8 * usual) if usual else job.tests[name]['timeout']

    def noticed(self, job, mutant):
        """State, and the test that noticed; the mistake stands in the tree."""
        built, output = job.ninja(job.products)
        if not built:
            return 'not compiled', output.strip().splitlines()[-3:], 0
        names, n_likely = self.order(job, mutant)
        ran = 0
        for i, name in enumerate(names):
            if name in self.broken:
                continue
            ahead = [name] if i < n_likely else names[i:] if i == n_likely else []
            outputs = sorted({output for n in ahead for output in job.tests[n]['outputs']})
            if outputs:
                built, output = job.ninja(outputs)
                if not built:
                    return 'killed', f'the build of {name}', ran
            start = time.monotonic()
            status, output = job.test(name, self.limit(job, name))
            ran += 1
            if status in (0, SKIPPED):
                self.sound.add(name)
                self.report.took(name, round(time.monotonic() - start, 2))
                continue
            if name not in self.sound and not self.passes_without(job, mutant, name):
                self.broken.add(name)
                self.say(f'{name} fails without any mistake: it does not count')
                continue
            if self.options.verbose:
                self.say(f'{name}:\n{output[-2000:]}')
            return 'killed', name if status is not None else f'{name} (out of time)', ran
        return 'survived', None, ran

    def passes_without(self, job, mutant, name):
        path = job.tree / mutant.file
        planted = path.read_text()
        try:
            path.write_text(mutant.original)
            job.ninja(job.products + job.tests[name]['outputs'])
            start = time.monotonic()
            status, _ = job.test(name, job.tests[name]['timeout'])
            if status in (0, SKIPPED):
                self.sound.add(name)
                self.report.took(name, round(time.monotonic() - start, 2))
                return True
            path.write_text(planted)
            job.ninja(job.products)
            return False
        finally:
            path.write_text(planted)

    def one(self, job, mutant):
        path = job.tree / mutant.file
        original = path.read_text()
        mutant.original = original
        start = time.monotonic()
        try:
            path.write_text(mutant.planted(original))
            state, by, ran = self.noticed(job, mutant)
        finally:
            path.write_text(original)
        seconds = round(time.monotonic() - start, 1)
        self.report.put(mutant, state=state, by=by, ran=ran, seconds=seconds, tests=self.options.tests)
        self.say(f'{state}: {mutant.name} ({seconds} s){f" by {by}" if by else ""}')

    def work(self, job, waiting, problems):
        try:
            while not job.stopped:
                self.one(job, waiting.get_nowait())
        except (queue.Empty, Stopped):
            pass
        except Exception as problem:  # pylint: disable=broad-except
            problems.append(problem)


def run(options, mutants):
    folder = Path(options.work).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(folder, options.resume or options.survivors or options.only)
    waiting = queue.SimpleQueue()
    for mutant in mutants:
        entry = report.of(mutant)
        done = (options.resume and entry) or (options.survivors and entry and entry['state'] != 'survived')
        if not done:
            waiting.put(mutant)
    runner = Runner(options, report)
    runner.say(f'{waiting.qsize()} mistakes to plant')
    jobs, problems = [], []
    for number in range(min(options.jobs, waiting.qsize())):
        runner.say(f'building in {folder / f"job-{number}"}')
        jobs.append(Job(folder / f'job-{number}', ROOT, runner.say))
    threads = [threading.Thread(target=runner.work, args=(job, waiting, problems)) for job in jobs]

    def stop(*_):
        for job in jobs:
            job.stopped = True
            job.kill()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for problem in problems:
        print(f'mutants: {problem}', file=sys.stderr)
    text, share = report.write(mutants)
    print(text, end='')
    stopped = any(job.stopped for job in jobs)
    return 1 if problems or stopped or (options.least and share < options.least) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='only whether each mistake can be planted')
    parser.add_argument('--report', action='store_true', help='only print what is known')
    parser.add_argument('--only', action='append', default=[], metavar='NAME',
                        help='these mistakes: a pattern of names, a list\'s name or a file; may be given more than once')
    parser.add_argument('--sample', type=int, metavar='N', help='only N of them, evenly over the lists')
    parser.add_argument('--tests', default='quick', metavar='quick|full|near|short|NAMES',
                        help='which tests: a suite (full includes quick), those that the mistake names and those '
                             'nearest to its file (short: those of them that take seconds), or names apart by ";"')
    parser.add_argument('--resume', action='store_true', help='only mistakes that no earlier run has tried')
    parser.add_argument('--survivors', action='store_true', help='only mistakes that were not noticed, or not tried')
    parser.add_argument('--jobs', type=int, default=1, help='build folders side by side')
    parser.add_argument('--work', default=str(ROOT / 'build-mutants'), help='the folder of copies and reports')
    parser.add_argument('--least', type=float, metavar='PERCENT', help='fail when fewer are noticed')
    parser.add_argument('--verbose', action='store_true', help='what the failing test printed')
    options = parser.parse_args()
    try:
        mutants = read_lists()
        if options.only:
            mutants = [m for p in options.only for m in mutants if p in (m.list_name(), m.file) or
                       fnmatch.fnmatch(m.name, p)]
            if not mutants:
                raise Problem(f'no mistake is called {" or ".join(options.only)}')
        if options.sample and options.sample < len(mutants):
            mutants = [mutants[i * len(mutants) // options.sample] for i in range(options.sample)]
        wrong = check(mutants, ROOT)
        for line in wrong:
            print(line, file=sys.stderr)
        if wrong or options.check:
            print(f'{len(mutants)} mistakes, {len(wrong)} cannot be planted')
            return 1 if wrong or not mutants else 0
        if options.report:
            print(Report(Path(options.work), True).write(mutants)[0], end='')
            return 0
        return run(options, mutants)
    except Problem as problem:
        print(f'mutants: {problem}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
