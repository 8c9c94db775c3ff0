insert into ship values
    ('Oriel', 12000),
    ('Bay', 80000);

