# SPDX-License-Identifier: MIT
"""Functions that are on the stack of many faults and to blame for few.

One row a kind, with the reason why its functions are passed over. A function is passed over only when something
better is left: a fault in memcpy that nobody calls is still memcpy's. Names are matched without what compilers
append (".cold", ".isra.0") and from their first letter to their last; a "*" at the end stands for any rest.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache


class Skip(enum.Enum):
    """What it means that a function is in the table."""

    REPORTER = "prints the report or checks for the fault: never to blame"
    HELPER = "does what it is told: its caller gave it the bad argument"
    RUNNER = "calls whatever was registered: above it is somebody else's code"
    WAIT = "waits: what matters is who asked it to"
    ENTRY = "the CPU came here by an interrupt: what is below it was only interrupted"


@dataclass(frozen=True)
class Row:
    """Functions of one kind."""

    skip: Skip
    reason: str
    names: str  # separated by spaces


TABLE: tuple[Row, ...] = (
    Row(
        Skip.REPORTER,
        "prints stacks and registers",
        """
        end_report* start_report* dump_stack* __dump_stack show_stack* show_trace* show_regs*
        dump_backtrace* __dump_backtrace unwind_backtrace walk_stackframe notrace_walk_stackframe
        arch_stack_walk* stack_trace_* save_stack* save_trace* sched_show_task dump_cpu_task
        rcu_dump_cpu_stacks* nmi_cpu_backtrace* nmi_trigger_cpumask_backtrace
        arch_trigger_cpumask_backtrace* trigger_all_cpu_backtrace show_state_filter __show_regs
        show_interrupts debug_show_all_locks print_* rcu_check_gp_kthread_starvation* print_cpu_stall*
        check_cpu_stall* kasan_save_* kasan_set_track set_track* kasan_record_aux_stack*
        __kasan_record_aux_stack* stack_depot_*
        """,
    ),
    Row(
        Skip.REPORTER,
        "WARN, BUG, panic and die",
        """
        __warn* warn_slowpath_* warn_bogus_irq_restore report_bug* handle_bug* fixup_bug* __report_bug*
        panic vpanic nmi_panic die die_* __die* oops_* crash_kexec* do_trap* do_error_trap* exc_* asm_exc_*
        do_invalid_op invalid_op do_divide_error divide_error do_general_protection general_protection
        do_int3 int3 double_fault do_double_fault page_fault* do_page_fault* __do_page_fault
        do_user_addr_fault do_kern_addr_fault bad_area* __bad_area* no_context* mm_fault_error
        async_page_fault do_async_page_fault error_entry error_exit page_fault_oops kernelmode_fixup_or_oops
        spurious_kernel_fault* call_break_hook brk_handler bug_handler do_debug_exception bug_brk_handler
        ubsan_brk_handler do_mem_abort do_translation_fault do_bad_area __do_kernel_fault do_sp_pc_abort
        do_undefinstr do_el1_* el1_* el1h_64_sync* el1_sync* el1_abort el1_dbg el1_brk64 do_DataAbort
        do_PrefetchAbort __dabt_svc __pabt_svc __und_svc* do_kernel_fault arm_notify_die do_undefinstr
        ret_from_exception handle_exception* do_trap_* die_kernel_fault bad_page_fault do_page_fault
        program_check_exception program_check_common data_access_common instruction_access_common
        handle_page_fault __bug_report* do_BUG asm_exc_invalid_op kernel_init_freeable_oops bad_page*
        dump_page* __dump_page free_page_is_bad* check_new_page_bad*
        """,
    ),
    Row(
        Skip.REPORTER,
        "sanitizers",
        """
        kasan_* __kasan_* __asan_* asan_* check_memory_region* check_region_inline memory_is_poisoned*
        __hwasan_* hwasan_* kmsan_* __msan_* kcsan_* __tsan_* __kcsan_* kfence_* __kfence_* ubsan_*
        __ubsan_* handle_overflow __kmsan_* report_* kmemleak_* __kmemleak_* create_object* __alloc_object*
        check_heap_object __check_heap_object __check_object_size* check_object_size* usercopy_*
        __sanitizer_cov_*
        """,
    ),
    Row(
        Skip.REPORTER,
        "checks of arguments and contexts",
        """
        refcount_warn_saturate* refcount_error_report fortify_panic* __fortify_panic* fortify_warn*
        __fortify_report* skb_panic* skb_over_panic skb_under_panic __list_add_valid*
        __list_del_entry_valid* __list_add_valid_or_report __list_del_entry_valid_or_report __might_sleep*
        ___might_sleep* __might_resched* __might_fault might_fault might_sleep* __cant_sleep*
        __cant_migrate* __schedule_bug* check_preemption_disabled debug_smp_processor_id
        __this_cpu_preempt_check lockdep_* __lock_acquire* lock_acquire* __lock_release* lock_release*
        validate_chain* check_prev_add* check_prevs_add* check_noncircular* check_deadlock* mark_lock*
        mark_held_locks* check_usage* check_irq_usage* lock_is_held* register_lock_class* assign_lock_key
        look_up_lock_class rcu_lockdep* lockdep_rcu_suspicious debug_object_* __debug_object_* debug_check_*
        __debug_check_* debug_print_object debug_mutex_* debug_spin_* spin_bug spin_dump rwlock_bug
        do_raw_spin_* do_raw_read_* do_raw_write_* sysfs_warn_dup kobject_add_internal* kobject_init* kref_*
        ww_mutex_* cet_report* do_kernel_cp_fault* handle_cfi_failure* report_cfi_failure* __cfi_slowpath*
        __cfi_check* __ubsan_handle_cfi* __stack_chk_fail* watchdog_timer_fn watchdog_overflow_callback
        watchdog_hardlockup_check* slab_err* slab_bug* object_err* slab_fix slab_pad_check* check_slab*
        check_object* check_bytes_and_report* free_consistency_checks* alloc_consistency_checks*
        free_debug_processing* alloc_debug_processing* on_freelist* __slab_err* print_trailer*
        slab_free_hook* slab_free_freelist_hook* cache_free_debugcheck* cache_from_obj* check_hung_*
        watchdog __report_bad_irq* note_interrupt* add_interrupt_randomness rcu_sched_clock_irq
        check_panic_on_warn irq_work_* kasan_report* free_nonslab_page* kmsan_internal_*
        __warn_flushing_systemwide_wq
        """,
    ),
    Row(
        Skip.HELPER,
        "moves and compares memory and strings",
        """
        memcpy* __memcpy* memset* __memset* memmove* __memmove* memcmp* memchr* memscan* strlen* strnlen*
        strcpy* strncpy* strscpy* sized_strscpy* strlcpy* strcat* strncat* strlcat* strcmp* strncmp*
        strcasecmp* strncasecmp* strchr* strrchr* strnchr* strstr* strnstr* strsep* strspn* strcspn*
        strpbrk* __pi_* __arch_copy_* copy_to_user* copy_from_user* _copy_to_user* _copy_from_user* __copy_*
        raw_copy_* copy_user_* rep_movs_* rep_stos_* clear_page* copy_page* clear_user* __clear_user*
        strncpy_from_user* strnlen_user* __get_user_* __put_user_* __get_user_nocheck_* csum_partial* crc32*
        sort_r sort bcmp* skip_spaces strim kstrto* _kstrto* simple_strto* sscanf vsscanf memdup_user*
        kmemdup* kstrdup* kvmemdup* kasprintf kvasprintf*
        """,
    ),
    Row(
        Skip.HELPER,
        "formats and prints",
        """
        vsnprintf* snprintf sprintf vsprintf vscnprintf scnprintf string string_nocheck number pointer
        format_decode* printk* _printk* vprintk* printk_* console_* dev_printk* __dev_printk* _dev_*
        dev_vprintk* seq_printf seq_vprintf seq_puts seq_putc seq_write dynamic_pr_debug __dynamic_*
        netdev_printk __netdev_printk sysfs_emit* univ8250_* serial8250_* wait_for_xmitr io_serial_*
        wait_for_lsr __wake_up_klogd down_trylock_console* check_pointer*
        """,
    ),
    Row(
        Skip.HELPER,
        "allocates and frees memory",
        """
        kmalloc* __kmalloc* __kmem_cache_* kzalloc* kcalloc* __do_kmalloc* kmem_cache_alloc*
        kmem_cache_free* kmem_cache_zalloc* kfree* __kfree kvfree* kvmalloc* __kvmalloc* krealloc*
        __do_krealloc ksize* __ksize* slab_alloc* slab_free* __slab_alloc* ___slab_alloc* __slab_free*
        do_slab_free* ___cache_free* __cache_free* __cache_alloc* cache_alloc* cache_grow* kmem_cache_open*
        new_slab* allocate_slab* get_partial* get_freepointer* set_freepointer* freelist_* __alloc_pages*
        alloc_pages* alloc_page* __get_free_pages* get_zeroed_page* __free_pages* free_pages* __free_page*
        free_unref_page* __free_frozen_pages* __free_one_page* free_pcppages_bulk* free_pages_prepare*
        free_one_page* get_page_from_freelist* rmqueue* prep_new_page* post_alloc_hook* free_the_page
        __put_page* __folio_put* free_large_kmalloc* vmalloc* vzalloc* __vmalloc* vfree* __vfree* __vunmap*
        remove_vm_area* pcpu_alloc* __alloc_percpu* free_percpu* devm_kmalloc* devm_kzalloc* devm_kfree*
        dma_alloc_* dma_free_* mempool_* qlist_* quarantine_* __kasan_slab_alloc alloc_frozen_pages*
        __alloc_frozen_pages* kfree_* slab_post_alloc_hook* slab_pre_alloc_hook* memcg_slab_* discard_slab*
        free_slab* __free_slab* unfreeze_partials* put_cpu_partial* kmem_cache_create* kmem_cache_destroy*
        __kmem_cache_shutdown* __kmem_cache_create* kmem_cache_free_bulk
        """,
    ),
    Row(
        Skip.HELPER,
        "walks lists, trees and bitmaps",
        """
        rb_* __rb_* ___rb_* list_* __list_* hlist_* klist_* llist_* plist_* radix_tree_* __radix_tree_* xa_*
        __xa_* xas_* idr_* ida_* mas_* mtree_* mt_* find_next_bit* find_first_bit* _find_*
        find_next_zero_bit* bitmap_* __bitmap_* rhashtable_* __rhashtable_* timerqueue_* interval_tree_*
        bsearch sg_next sg_miter_* sg_copy_* sg_alloc_table* sg_init_table kfifo_* __kfifo_*
        """,
    ),
    Row(
        Skip.HELPER,
        "locks and unlocks",
        """
        _raw_spin_* _raw_read_* _raw_write_* __raw_spin_* __raw_read_* __raw_write_* spin_* read_lock*
        write_lock* rt_spin_* queued_spin_* native_queued_spin_* __pv_queued_spin_* pv_queued_spin_*
        queued_read_* queued_write_* arch_spin_* do_raw_* mutex_* __mutex_* ___mutex_* _mutex_* rt_mutex_*
        __rt_mutex_* rtlock_* __rwbase_* rwbase_* down down_* __down* up up_* __up* rwsem_* __rwsem_*
        call_rwsem_* percpu_down_* __percpu_down_* percpu_rwsem_* _atomic_dec_and_* lock_sock_nested
        osq_lock* refcount_* atomic_* arch_atomic_* __refcount_* kref_get kref_put __srcu_read_* rcu_read_*
        __rcu_read_* seqcount_* __ww_mutex_* mcs_spin_*
        """,
    ),
    Row(
        Skip.HELPER,
        "sets and clears bits, reads ports, counts",
        """
        test_and_* set_bit clear_bit change_bit readl readw readb writel writew writeb ioread* iowrite*
        __raw_read* __raw_write* native_* native_halt __const_udelay __delay delay_* __udelay udelay mdelay
        __ndelay kobject_put kobject_get kobject_release kobject_cleanup try_module_get module_put
        __module_get get_device put_device instrument_* arch_local_* trace_hardirqs_* trace_preempt_*
        preempt_count_* local_bh_* __local_bh_* get_random_* __xchg* __cmpxchg* arch_static_*
        smp_call_function_* smp_call_function __flush_smp_call_function_queue on_each_cpu* csd_lock_wait*
        __csd_lock_wait* cpu_relax ktime_get* sched_clock* local_clock*
        """,
    ),
    Row(
        Skip.WAIT,
        "gives the CPU away",
        """
        schedule schedule_timeout* schedule_preempt_disabled schedule_hrtimeout* schedule_idle schedule_tail
        schedule_debug __schedule* preempt_schedule* io_schedule* __cond_resched* _cond_resched*
        cond_resched* __switch_to* context_switch msleep* usleep_range* ssleep fsleep do_nanosleep
        hrtimer_nanosleep wait_for_common* __wait_for_common* do_wait_for_common* wait_for_completion*
        __wait_for_completion* wait_on_bit* __wait_on_bit* out_of_line_wait_on_* bit_wait* __wait_on_*
        folio_wait_* wait_on_page_* wait_woken* do_wait_intr* __wait_event_* prepare_to_wait* finish_wait
        __refrigerator freezable_schedule* completion_* swait_* __swait_* yield irqentry_exit*
        raw_irqentry_exit* preempt_schedule_irq __preempt_count_* dynamic_preempt_* dynamic_cond_resched
        dynamic_might_resched irqentry_exit_cond_resched do_sched_yield sleep_on* interruptible_sleep_on*
        """,
    ),
    Row(
        Skip.RUNNER,
        "system calls, threads, initcalls",
        """
        do_syscall_* __do_syscall_* x64_sys_call entry_SYSCALL_* entry_SYSENTER_* entry_INT80_* do_int80_*
        do_fast_syscall_* __do_fast_syscall_* ia32_sys_call el0_* el0t_* invoke_syscall el0_svc* do_el0_svc
        ret_fast_syscall syscall_common system_call* sysenter_* ret_from_fork* ret_from_kernel_thread
        kthread kthreadd worker_thread rescuer_thread process_one_work process_scheduled_works
        kthread_worker_fn smpboot_thread_fn do_one_initcall do_init_module load_module*
        init_module_from_file idempotent_init_module* call_usermodehelper_exec_async kernel_init
        syscall_exit_* exit_to_user_mode_* task_work_run do_exit* do_group_exit* entry_common irq_thread
        irq_thread_fn kernel_clone _do_fork kernel_thread start_kernel secondary_startup_* cpu_startup_entry
        do_idle cpuidle_* default_idle* arch_cpu_idle* mwait_* intel_idle* acpi_idle_* acpi_processor_*
        acpi_safe_halt poll_idle rest_init x86_64_start_* arch_call_rest_init start_secondary
        invoke_syscall* system_call_exception sys_call_table handle_syscall syscall_handler ret_from_syscall
        """,
    ),
    Row(
        Skip.RUNNER,
        "timers, deferred work, interrupts' own dispatch",
        """
        call_timer_fn expire_timers __run_timers* run_timer_softirq run_timer_base __run_timer_base*
        run_ktimerd __hrtimer_run_queues hrtimer_run_queues hrtimer_interrupt hrtimer_run_softirq
        __do_softirq do_softirq* handle_softirqs* run_ksoftirqd softirqentry_* invoke_softirq irq_exit*
        __irq_exit_rcu tasklet_action* tasklet_hi_action* __tasklet_* rcu_do_batch rcu_core*
        rcu_process_callbacks call_rcu_* srcu_invoke_callbacks handle_irq_event* __handle_irq_event_percpu
        handle_edge_irq handle_level_irq handle_fasteoi_irq handle_simple_irq handle_percpu_devid_irq
        handle_nested_irq generic_handle_* __handle_domain_irq handle_domain_irq gic_handle_irq
        plic_handle_irq riscv_intc_irq call_on_irq_stack call_on_stack do_interrupt_handler
        __common_interrupt do_IRQ handle_irq __handle_irq handle_arch_irq handle_domain_*
        local_apic_timer_interrupt tick_* update_process_times arch_timer_handler_*
        flush_smp_call_function_queue generic_smp_call_function_* nmi_handle default_do_nmi do_nmi exc_nmi*
        end_repeat_nmi perf_event_nmi_handler* irq_handler asm_call_on_stack asm_call_irq* run_irq_workd
        notifier_call_chain* blocking_notifier_call_chain* atomic_notifier_call_chain*
        raw_notifier_call_chain* srcu_notifier_call_chain*
        """,
    ),
    Row(
        Skip.ENTRY,
        "an interrupt came",
        """
        asm_sysvec_* sysvec_* __sysvec_* asm_common_interrupt common_interrupt ret_from_intr
        apic_timer_interrupt smp_apic_timer_interrupt call_function_interrupt call_function_single_interrupt
        reschedule_interrupt asm_common_interrupt* irq_entries_start el1_irq el1h_64_irq* el1_interrupt
        el1h_64_fiq* el0_irq* __irq_svc __irq_usr interrupt_entry restore_regs_and_iret reboot_interrupt nmi
        asm_exc_nmi hardware_interrupt_common* decrementer_common* timer_interrupt handle_arch_irq do_irq
        ret_from_irq except_vec_vi_end rollback_handle_int handle_int plat_irq_dispatch
        """,
    ),
)
# What compilers append.
_SUFFIX = re.compile(r"\.(?:cold|isra|constprop|part|llvm|lto_priv|localalias|cfi|cfi_jt|warm)\b.*|\$.*")


# Split when the module is imported: cheap, unlike an expression of a thousand names.
_NAMES = tuple((row.skip, name) for row in TABLE for name in row.names.split())


@lru_cache(maxsize=4096)
def find_skip(function: str) -> Skip | None:
    """Why a kernel function of this name is passed over; None when it may be to blame."""
    bare = _SUFFIX.sub("", function)
    return next((skip for skip, name in _NAMES if bare == name or _begins(bare, name)), None)


def _begins(function: str, name: str) -> bool:
    return name.endswith("*") and function.startswith(name[:-1])
